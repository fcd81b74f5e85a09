package wire

import (
	"crypto/tls"
	"net"
	"syscall"
)

// unsentMost is how much the system keeps of what it has taken and not sent yet. It
// takes more when that has been sent, so what waits for a slow peer waits in its outbox,
// where it is counted, bounded, and follows the user to his next connection.
const unsentMost = 128 << 10

// Unacknowledged returns how many bytes the system has taken for l's peer that the peer's
// system has not acknowledged; -1 if it cannot tell, or its socket is out of reach. It
// does not block.
func (l *Link) Unacknowledged() int {
	n := -1
	l.socket(func(fd uintptr) { n = unacknowledged(fd) })
	return n
}

// socket calls f with l's file descriptor, if it can be reached: not behind x/net, nor
// inside a type of the application's, which may do anything when it is asked.
func (l *Link) socket(f func(fd uintptr)) {
	conn := l.Conn
	if l.up != nil {
		conn = l.up.Conn
	}
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	var socket syscall.Conn
	switch c := conn.(type) {
	case *net.TCPConn:
		socket = c
	case *net.UnixConn:
		socket = c
	default:
		return
	}
	if raw, err := socket.SyscallConn(); err == nil {
		_ = raw.Control(f) // it is closed then
	}
}
