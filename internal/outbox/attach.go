package outbox

import (
	"time"

	"github.com/nulijiabei/gcpool/internal/transport"
)

// Attach makes link, which c adds, b's connection; the newest wins. It reports false, and
// does nothing, if b is dead.
func (b *Box) Attach(link *transport.Link, c Caller) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.link
	switch {
	case b.dead:
		return false, nil
	case b.group.closed.Load():
		return true, ErrClosed
	case old != nil && old.Is(link.Conn):
		return true, nil
	}
	b.link, b.active, b.control, b.forward = link, false, 0, forwardNone
	b.owners = b.owners.add(c)
	link.LimitUnsent()
	b.since = max(b.since+1, b.group.Now())
	b.heard, b.idle = b.since, b.since
	if old == nil {
		b.group.joins.Add(1)
		b.group.report.presence(b.ID, true, nil)
		if w := b.flight; w != nil && w.status.Code != 0 && !w.closed {
			b.endLocked(w, takeoverGrace)
		}
	} else {
		b.group.takeovers.Add(1)
		b.closeLocked(old, transport.StatusReplaced)
	}
	b.requeueLocked()
	b.wakeLocked()
	return true, nil
}

// Link returns b's connection, nil if it has none.
func (b *Box) Link() *transport.Link {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.link
}

// Since returns when b's connection was attached, a zero time if it has none.
func (b *Box) Since() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link == nil {
		return time.Time{}
	}
	return b.group.start.Add(b.since)
}

// Retire reports whether nothing keeps b any more; then it is dead.
func (b *Box) Retire() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dead = b.link == nil && b.flight == nil && len(b.queue) == 0 && !b.busy
	return b.dead
}
