//go:build unix && !aix

package socket

import (
	"net"
	"syscall"
)

// WriteNow writes as much of p as the socket has room for, and never waits. It goes past
// conn.Write, so it writes nothing unless conn is one of the system's own.
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
