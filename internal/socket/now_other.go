//go:build !unix || aix

package socket

import "net"

// WriteNow leaves all to Write.
func WriteNow(net.Conn, []byte) (n int) { return 0 }
