// Package socket knows what the system's sockets tell and take, and calls connections of any
// type, which may panic. It knows net.Conn and package syscall only.
package socket

import (
	"crypto/tls"
	"net"
	"syscall"
)

// Piece is the most that one write to a stream carries, so that a slow peer's progress can
// be seen.
const Piece = 64 << 10

// PieceOf returns the Piece of conn. The reader of a Unix socket shows that it reads only
// when it has read all of one write.
func PieceOf(conn net.Conn) int {
	if _, ok := conn.(*net.UnixConn); ok {
		return 8 << 10
	}
	return Piece
}

// An Ack is how far a peer's system has come with what was written to it.
type Ack struct {
	Left  int    // bytes that it has not acknowledged; -1 if the system cannot tell
	Acked uint64 // bytes that it has; 0 if the system cannot tell
}

// Acknowledged asks the socket under conn. It does not block.
func Acknowledged(conn net.Conn) Ack {
	ack := Ack{Left: -1}
	control(conn, func(fd uintptr) { ack = acknowledged(fd) })
	return ack
}

// unsentMost is how much the system keeps of what it has taken and not sent yet. It
// takes more when that has been sent, so what waits for a slow peer waits in its outbox,
// where it is counted, bounded, and follows the user to the next connection.
const unsentMost = 128 << 10

// LimitUnsent sets the bound of unsentMost, where there is one; Unix sockets have none.
func LimitUnsent(conn net.Conn) { control(conn, limitUnsent) }

// control calls f with the file descriptor of the socket under conn, if it can be reached.
func control(conn net.Conn, f func(fd uintptr)) {
	if raw := rawConn(Under(conn)); raw != nil {
		_ = raw.Control(f) // it is closed then
	}
}

// Under returns the connection under conn's TLS.
func Under(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return conn
}

// System reports whether conn is one of the system's own connections, whose methods wait
// for nothing but the socket. What is inside a type of the application's is out of reach:
// that may do anything when asked.
func System(conn net.Conn) bool {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// rawConn returns the socket of one of the system's own connections, else nil.
func rawConn(conn net.Conn) syscall.RawConn {
	if !System(conn) {
		return nil
	}
	raw, _ := conn.(syscall.Conn).SyscallConn() // nil with an error
	return raw
}
