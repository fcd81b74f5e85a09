package transport

import (
	"crypto/tls"
	"net"
	"syscall"
)

// unsentMost is how much the system keeps of what it has taken and not sent yet. It
// takes more when that has been sent, so what waits for a slow peer waits in its outbox,
// where it is counted, bounded, and follows the user to his next connection.
const unsentMost = 128 << 10

// pieceOf is how much of a write goes to conn at once. The reader of a Unix socket shows
// that it reads only when it has read all that came in one write.
func pieceOf(conn net.Conn) int {
	if _, ok := conn.(*net.UnixConn); ok {
		return 8 << 10
	}
	return Piece
}

// Progress is how far a peer has come with what is written to it, as far as that can be
// seen.
type Progress struct {
	wrote uint64 // bytes that the system has taken, the application's too; under Upgrade
	left  int    // of those, what the peer's system has not acknowledged; -1 if it cannot tell
	acked uint64 // what it has; 0 if that cannot be told
	held  uint64 // what Link.held tells
}

// Since reports whether something has moved since before. While an unfinished message of the
// application's holds up the pool that is its data alone, not the control frames between.
func (p Progress) Since(before Progress) bool {
	if p.held > 0 && before.held > 0 {
		return p.held != before.held
	}
	p.held = before.held
	return p != before
}

// Tells reports whether p changes when the peer's system has acknowledged something, and
// not only after a whole write.
func (p Progress) Tells() bool { return p.left >= 0 }

// Idle reports whether the peer's system has acknowledged all that was written, as far as
// can be told. Then no write is stuck in the socket.
func (p Progress) Idle() bool { return p.left == 0 }

// Progress does not block.
func (l *Link) Progress() Progress {
	p := Progress{left: -1, held: l.held()}
	var conn net.Conn
	p.wrote, conn = l.progress()
	socket(conn, func(fd uintptr) { p.left, p.acked = acknowledged(fd) })
	if _, unix := conn.(*net.UnixConn); !unix && p.acked == 0 && p.left >= 0 { // Unix counts its own records
		p.acked = p.wrote - min(p.wrote, uint64(p.left))
	}
	return p
}

// Taking reports whether l's peer is still busy with what is before the last ping: its
// system has acknowledged some of that since the last call. One call may run at a time.
func (l *Link) Taking() bool {
	before := l.last
	l.last = l.Progress()
	if l.last.acked > 0 {
		return 0 < before.acked && before.acked < l.last.acked && l.last.acked < l.pinged.Load()
	}
	return 0 < l.last.left && l.last.left < before.left
}

// LimitUnsent sets the bound of unsentMost, where there is one; Unix sockets have none.
func (l *Link) LimitUnsent() {
	_, conn := l.progress()
	socket(conn, limitUnsent)
}

// socket calls f with conn's file descriptor, if it can be reached.
func socket(conn net.Conn, f func(fd uintptr)) {
	if raw := rawConn(conn); raw != nil {
		_ = raw.Control(f) // it is closed then
	}
}

// under returns the connection that is under conn's TLS.
func under(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn()
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
