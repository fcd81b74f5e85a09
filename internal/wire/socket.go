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

// unacknowledged returns how many bytes the system has taken for l's peer that the peer's
// system has not acknowledged; -1 if it cannot tell, or its socket is out of reach.
func (l *Link) unacknowledged() int {
	n := -1
	l.socket(func(fd uintptr) { n = unacknowledged(fd) })
	return n
}

// socket calls f with l's file descriptor, if it can be reached.
func (l *Link) socket(f func(fd uintptr)) {
	if raw := rawConn(l.under()); raw != nil {
		_ = raw.Control(f) // it is closed then
	}
}

// under returns the connection that is under l, Upgrade and TLS.
func (l *Link) under() net.Conn {
	conn := l.Conn
	if l.up != nil {
		conn = l.up.Conn
	}
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return conn
}

// rawConn returns the socket of one of the system's own connections, else nil. What is
// inside a type of the application's is out of reach: that may do anything when asked.
func rawConn(conn net.Conn) syscall.RawConn {
	var socket syscall.Conn
	switch c := conn.(type) {
	case *net.TCPConn:
		socket = c
	case *net.UnixConn:
		socket = c
	default:
		return nil
	}
	raw, _ := socket.SyscallConn() // nil with an error
	return raw
}
