package delivery

import (
	"time"

	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// Attach makes conn, which who adds, r's connection; the newest wins. It reports false, and
// does nothing, if r is dead.
func (r *Recipient) Attach(conn *Connection, who owners.Caller) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, old := &r.cursor, r.cursor.conn
	switch {
	case r.dead:
		return false, nil
	case r.group.closed.Load():
		return true, outcome.ErrClosed
	case old != nil && old.Is(conn.Conn):
		return true, nil
	}
	conn.LimitUnsent()
	now := r.group.moment()
	conn.since, conn.written, conn.heard, c.conn = now, now, now, conn
	r.active = false
	r.owners = r.owners.Add(who)
	r.mail.leave()
	r.forward.stop()
	if old == nil {
		r.group.Joins.Add(1)
		r.group.report.Moved(r.ID, true, nil)
		if f := c.flight; f != nil && !c.travels() && f.conn.life == closing && f.conn.ending.status.Code != 0 {
			f.judgeAfter(takeoverGrace)
		}
	} else {
		r.group.Takeovers.Add(1)
		c.close(old, nil, transport.StatusReplaced)
	}
	c.wake()
	return true, nil
}

// Conn returns r's connection and when it was attached; nil if r has none.
func (r *Recipient) Conn() (*Connection, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if conn := r.cursor.conn; conn != nil {
		return conn, r.group.line.Time(conn.since)
	}
	return nil, time.Time{}
}

// An Info is what package gcpool documents under the same name.
type Info struct {
	Since                 time.Time
	Kind                  string
	Waiting, WaitingBytes int
	Mailbox, MailboxBytes int
	Stalled               time.Time
}

// Info returns what is known of r.
func (r *Recipient) Info() (i Info) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i.Waiting, i.WaitingBytes = r.log.Left(), r.log.Bytes
	i.Mailbox, i.MailboxBytes = r.mail.messages(), r.mail.payload()
	c := &r.cursor
	if c.conn != nil {
		i.Since, i.Kind = r.group.line.Time(c.conn.since), c.conn.Kind()
	}
	if c.turn == stalled && c.flight.conn == c.conn {
		i.Stalled = c.flight.since
	}
	return i
}

// OutboxBytes returns the payload that waits for r outside the mailbox.
func (r *Recipient) OutboxBytes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.log.Bytes == 0 {
		return 0
	}
	return r.log.Bytes - r.mail.payload()
}

// Retire returns who added r's connections, and whether nothing keeps r any more. Then r is
// dead.
func (r *Recipient) Retire() (o owners.List, retired bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.cursor
	r.dead = c.conn == nil && c.flight == nil && r.log.Empty() && c.turn == idle
	return r.owners, r.dead
}
