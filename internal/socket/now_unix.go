//go:build unix && !aix

package socket

import (
	"net"
	"syscall"
)

// WriteNow writes what of p the socket has room for, and never waits. Only the
// system's own connections may be written to past their Write.
func WriteNow(conn net.Conn, p []byte) (n int) {
	raw := rawConn(conn)
	if raw == nil {
		return 0
	}
	_ = raw.Write(func(fd uintptr) bool { // an error will come again, of Write
		n, _ = syscall.SendmsgN(int(fd), p, nil, nil, syscall.MSG_DONTWAIT)
		return true
	})
	return max(n, 0)
}
