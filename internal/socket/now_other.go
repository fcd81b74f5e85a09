//go:build !unix || aix

package socket

import "net"

// WriteNow writes nothing here, and leaves all to Write.
func WriteNow(net.Conn, []byte) (n int) { return 0 }

// PeerLeft cannot tell here.
func PeerLeft(net.Conn, error) bool { return false }

// Gone cannot tell here.
func Gone(net.Conn) bool { return false }
