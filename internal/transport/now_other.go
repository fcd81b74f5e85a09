//go:build !unix || aix

package transport

import "net"

// writeNow leaves all to Write.
func writeNow(net.Conn, []byte) (n int) { return 0 }
