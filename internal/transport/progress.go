package transport

import (
	"net"

	"github.com/nulijiabei/gcpool/internal/socket"
)

// Progress is how far a peer has come with what is written to it, as far as that can be
// seen.
type Progress struct {
	socket.Ack
	wrote uint64 // bytes that the system has taken, the application's too; under Upgrade
	held  uint64 // how much data the application has written, while Link.Held
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
func (p Progress) Tells() bool { return p.Left >= 0 }

// Idle reports whether the peer's system has acknowledged all that was written, as far as
// can be told. Then no write is stuck in the socket.
func (p Progress) Idle() bool { return p.Left == 0 }

// Progress does not block.
func (l *Link) Progress() (p Progress) {
	if up := l.upgraded(); up != nil {
		p.wrote, p.held = up.Wrote(), up.Held()
	}
	conn := l.Socket()
	p.Ack = socket.Acknowledged(conn)
	if _, unix := socket.Under(conn).(*net.UnixConn); !unix && p.Acked == 0 && p.Left >= 0 { // Unix counts its own records
		p.Acked = p.wrote - min(p.wrote, uint64(p.Left))
	}
	return p
}

// Taking reports whether l's peer is still busy with what is before the last ping: its
// system has acknowledged some of that since the last call. One call may run at a time.
func (l *Link) Taking() bool {
	before, now := l.last, l.Progress()
	l.last = &now
	switch {
	case before == nil:
		return false
	case now.Acked > 0:
		return 0 < before.Acked && before.Acked < now.Acked && now.Acked < l.pinged.Load()
	}
	return 0 < now.Left && now.Left < before.Left
}

// LimitUnsent bounds what the system keeps of what is not sent yet, where it can.
func (l *Link) LimitUnsent() { socket.LimitUnsent(l.Socket()) }
