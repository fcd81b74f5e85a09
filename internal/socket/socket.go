// Package socket asks the system's sockets how many bytes their peers have acknowledged, writes
// to them without waiting, and calls connections of any type, which can panic. It knows only
// net.Conn and package syscall.
package socket

import (
	"crypto/tls"
	"net"
	"reflect"
	"syscall"
)

// Piece is the most that one write to a stream carries, so that the progress of a slow peer
// shows.
const Piece = 64 << 10

// PieceOf returns the size of a piece for conn. A Unix socket shows progress only when its peer
// has read all of a write.
func PieceOf(conn net.Conn) int {
	if _, ok := conn.(*net.UnixConn); ok {
		return 8 << 10
	}
	return Piece
}

// An Ack says how many of the written bytes the peer's system has acknowledged.
type Ack struct {
	Left  int    // bytes not acknowledged yet; -1 if our system cannot tell
	Acked uint64 // bytes acknowledged; 0 if our system cannot tell
}

// Acknowledged asks the socket under conn. It does not block.
func Acknowledged(conn net.Conn) Ack {
	ack := Ack{Left: -1}
	control(conn, func(fd uintptr) { ack = acknowledged(fd) })
	return ack
}

// unsentMost is how many unsent bytes the system may hold. The rest waits in the outbox, where it
// is counted and bounded, and follows the user to the next connection.
const unsentMost = 128 << 10

// LimitUnsent applies unsentMost to conn, where the system has such a limit; Unix sockets have
// none.
func LimitUnsent(conn net.Conn) { control(conn, limitUnsent) }

// control calls f with the file descriptor of the socket under conn, if it can be reached.
func control(conn net.Conn, f func(fd uintptr)) {
	if raw := rawConn(Under(conn)); raw != nil {
		_ = raw.Control(f) // fails if the socket is closed
	}
}

// IsNil reports whether conn is nil, or a nil pointer.
func IsNil(conn net.Conn) bool {
	v := reflect.ValueOf(conn)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// Under returns the connection under conn's TLS.
func Under(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return conn
}

// System reports whether conn is one of the system's own connections. Their methods wait for
// nothing but the socket. The methods of an application's type can do anything, so a socket
// inside it is out of reach.
func System(conn net.Conn) bool {
	tcp, _ := conn.(*net.TCPConn)
	unix, _ := conn.(*net.UnixConn)
	return tcp != nil || unix != nil
}

// rawConn returns the socket of one of the system's own connections, and nil for any other.
func rawConn(conn net.Conn) syscall.RawConn {
	if !System(conn) {
		return nil
	}
	raw, _ := conn.(syscall.Conn).SyscallConn() // nil with an error
	return raw
}
