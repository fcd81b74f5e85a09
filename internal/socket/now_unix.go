//go:build unix && !aix

package socket

import (
	"errors"
	"net"
	"syscall"
)

// WriteNow writes as much of p as the socket has room for, and never waits. It bypasses
// conn.Write, so it writes nothing unless conn is one of the system's own.
func WriteNow(conn net.Conn, p []byte) (n int) {
	raw := rawConn(conn)
	if raw == nil {
		return 0
	}
	_ = raw.Write(func(fd uintptr) bool { // Write will return the same error
		n, _ = syscall.SendmsgN(int(fd), p, nil, nil, syscall.MSG_DONTWAIT)
		return true
	})
	return max(n, 0)
}

// PeerLeft reports whether a write to conn has failed because the peer has closed conn. What the
// peer sent before that can still be read. PeerLeft cannot tell for connections that are not the
// system's own.
func PeerLeft(conn net.Conn, err error) bool {
	return System(Under(conn)) && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET))
}

// Gone reports whether the peer has closed its side of conn, or the system has given up on the
// peer. It reads nothing and does not wait. For connections that are not the system's own, it
// cannot tell and reports false. While bytes from the peer wait to be read, only Linux can tell.
func Gone(conn net.Conn) (gone bool) {
	control(conn, func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = n == 0 && err == nil || err != nil && err != syscall.EAGAIN && err != syscall.EINTR || leaves(fd)
	})
	return gone
}
