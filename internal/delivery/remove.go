package delivery

import (
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// Remove removes and closes r's connection with status, and returns it, nil if there was
// none. It does nothing if who is an owner of another one; the zero Caller may remove any. It
// also reports whether it has done its work: not if r is dead.
func (r *Recipient) Remove(who owners.Caller, status transport.Status) (removed *Connection, done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead {
		return nil, false
	}
	if !r.owners.Del(who) || r.cursor.conn == nil {
		return nil, true
	}
	removed = r.cursor.conn
	r.removeLocked(outcome.ErrDeleted, status)
	return removed, true
}

// Detach removes and closes r's connection if it is conn, and reports whether it is.
func (r *Recipient) Detach(conn *Connection, reason error) bool {
	status := transport.StatusNormal
	switch reason {
	case outcome.ErrMoved:
		status = transport.StatusReplaced
	case outcome.ErrClosed: // 1000 would tell a client that it need not come back
		status = transport.StatusGoingAway
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if conn == nil || r.cursor.conn != conn {
		return false
	}
	if reason == outcome.ErrDeleted || reason == outcome.ErrLeft {
		r.owners.Left()
	}
	r.removeLocked(reason, status)
	return true
}

// removeLocked takes r's connection away. What waits goes elsewhere, to the mailbox, or is
// reported with reason, behind what is under way.
func (r *Recipient) removeLocked(reason error, status transport.Status) {
	c, conn := &r.cursor, r.cursor.conn
	c.conn = nil
	r.group.Leaves.Add(1)
	r.group.report.Moved(r.ID, false, reason)
	if remote := r.group.Remote(); remote != nil { // ConnPool.Add tells of a new one
		r.group.tasks.Go(func() { remote.Changed(r.group.Pool, r.ID) })
	}
	if f := c.flight; f != nil && f.conn != conn && !c.travels() && f.conn.ending.reason == nil {
		f.conn.ending.reason = reason // what an older one leaves has nowhere to go any more
	}
	switch {
	case reason == outcome.ErrMoved && r.group.remote.Load() != nil:
		r.forwarderLocked().evict()
	case c.travels() && !r.group.mailboxOn(): // behind what is on its way
		r.log.GiveUp(reason)
	default:
		r.abandonLocked(reason, outcome.ErrExpired)
	}
	c.close(conn, reason, status)
}

// abandonLocked has what waits go to the mailbox, or reports it with reason; with large what
// the mailbox could not hold.
func (r *Recipient) abandonLocked(reason, large error) {
	if r.group.mailboxOn() {
		r.mailLocked().collect(large)
		return
	}
	r.mail.leave() // if the mailbox has been closed just now
	r.log.GiveUp(reason)
	if r.cursor.flight == nil || r.cursor.travels() { // a batch may take long
		r.tellGivenUp()
	}
}
