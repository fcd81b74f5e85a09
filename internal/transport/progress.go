package transport

import (
	"net"

	"github.com/nulijiabei/gcpool/internal/socket"
)

// A Progress is how many of the bytes written to a peer it has taken, as far as our system can
// tell.
type Progress struct {
	socket.Ack
	Held  bool   // an unfinished message of the application keeps Send waiting
	wrote uint64 // bytes of data that our system has taken, including the application's; 0 without Upgrade
}

// Since reports whether anything has moved between before and p. While an open message of the
// application holds up the pool, only the data of that message counts, not the control frames
// inside it.
func (p Progress) Since(before Progress) bool {
	if p.Held && before.Held {
		return p.wrote != before.wrote
	}
	p.Held = before.Held
	return p != before
}

// Tells reports whether p changes with each acknowledgement, rather than only after a write.
func (p Progress) Tells() bool { return p.Left >= 0 }

// Idle reports whether the peer's system is known to have acknowledged all that was written.
// Then no write is stuck in the socket.
func (p Progress) Idle() bool { return p.Left == 0 }

// Progress returns how much the peer has taken. It does not block.
func (l *Link) Progress() (p Progress) {
	if up := l.upgraded(); up.Conn != nil {
		p.wrote = up.Wrote()
		p.Held, _ = up.Waits()
	}
	conn := l.Socket()
	p.Ack = socket.Acknowledged(conn)
	if _, unix := socket.Under(conn).(*net.UnixConn); !unix && p.Acked == 0 && p.Left >= 0 { // Unix sockets count kernel memory
		p.Acked = p.wrote - min(p.wrote, uint64(p.Left))
	}
	return p
}

// Taking reports whether the peer is still taking bytes that were written ahead of the last ping:
// its system has acknowledged some of them since the last call. Only one call may run at a time.
func (l *Link) Taking() bool {
	before, now := l.last, l.Progress()
	if up := l.upgraded(); up.Conn != nil {
		if _, due := up.Waits(); due { // the ping waits for the end of a long frame
			l.pinged.Store(now.Acked + uint64(max(0, now.Left)) + 1)
		}
	}
	l.last = &now
	switch {
	case before == nil:
		return false
	case now.Acked > 0:
		return 0 < before.Acked && before.Acked < now.Acked && now.Acked < l.pinged.Load()
	}
	return 0 < now.Left && now.Left < before.Left
}

// LimitUnsent bounds how many unsent bytes the system holds, if it can.
func (l *Link) LimitUnsent() { socket.LimitUnsent(l.Socket()) }
