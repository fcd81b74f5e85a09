package outbox

import "github.com/nulijiabei/gcpool/internal/transport"

// Del removes and closes b's connection and returns it, unless c is an owner of another
// one. It also reports whether it has done its work: not if b is dead.
func (b *Box) Del(c Caller) (removed *transport.Link, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead {
		return nil, false
	}
	if !b.owners.del(c) {
		return nil, true
	}
	return b.kickLocked(transport.StatusNormal), true
}

// Kick removes and closes b's connection, with status, whoever calls it, and returns it,
// nil if there was none.
func (b *Box) Kick(status transport.Status) (removed *transport.Link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kickLocked(status)
}

func (b *Box) kickLocked(status transport.Status) (removed *transport.Link) {
	if removed = b.link; removed != nil {
		b.removeLocked(ErrDeleted, status)
	}
	return removed
}

// Detach removes and closes b's connection if it is link, and reports whether it is.
func (b *Box) Detach(link *transport.Link, reason error) bool {
	status := transport.StatusNormal
	switch reason {
	case ErrMoved:
		status = transport.StatusReplaced
	case ErrClosed, errSilent: // 1000 would tell a client that it need not come back
		status = transport.StatusGoingAway
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if link == nil || b.link != link {
		return false
	}
	if reason == ErrDeleted || reason == errLeft {
		b.owners[len(b.owners)-1].left = true
	}
	b.removeLocked(reason, status)
	return true
}

// removeLocked takes b's connection away; what waits goes to the mailbox or is
// reported with reason, behind what is under way.
func (b *Box) removeLocked(reason error, status transport.Status) {
	link, w := b.link, b.flight
	b.link, b.control = nil, 0
	b.group.leaves.Add(1)
	b.group.report.presence(b.ID, false, reason)
	if r := b.group.Remote(); r != nil { // who attaches a link tells of it
		b.group.spawn(func() { r.Changed(b.group.Pool, b.ID) })
	}
	if w != nil && w.reason == nil {
		w.reason = reason
	}
	switch {
	case reason == ErrMoved && b.group.remote.Load() != nil:
		b.forward = forwardAll
		b.requeueLocked()
	case w != nil && !b.group.mailbox.on():
		w.behind = append(w.behind, left{b.queue, reason})
		b.queue = nil
	default:
		b.abandonLocked(reason)
	}
	b.closeLocked(link, status)
}

// closeLocked has link, which is b's no more, closed on a goroutine of its own,
// for that may take a while; but first a write on it that is not stuck may end.
func (b *Box) closeLocked(link *transport.Link, status transport.Status) {
	if w := b.flight; w == nil || w.link != link {
		b.group.closeLink(link, status)
	} else if w.status = status; status.Code == 0 {
		b.endLocked(w, 0)
	} else if b.link == nil && link.WebSocket() && !b.group.closed.Load() {
		b.endLocked(w, closeGrace)
	} else {
		b.endLocked(w, takeoverGrace)
	}
}
