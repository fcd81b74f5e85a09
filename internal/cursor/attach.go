package cursor

import (
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
)

// Attach makes conn the cursor's connection, and the goroutine who its owner. The newest connection wins. A
// connection that its peer has already closed does not count as the newest: the peer may have
// come back, here or to another process, before the handler called Add. Attach closes such a
// connection, and the handler's Del will remove no other. Attach reports false, and does nothing,
// if the backlog is dead.
func (c *Cursor) Attach(conn *Connection, who uint64) (bool, error) {
	b := c.backlog
	b.Lock()
	defer b.Unlock()
	old := c.conn
	switch {
	case b.Dead:
		return false, nil
	case b.Shared.Closed.Load():
		return true, outcome.ErrClosed
	case old != nil && old.Same(&conn.Link):
		return true, nil
	case (old != nil || b.Shared.Remote() != nil) && conn.Gone():
		c.owners = c.owners.Add(who, b.Shared.Moment())
		c.close(conn, nil, frame.StatusReplaced)
		return true, nil
	}
	conn.LimitUnsent()
	conn.Since = b.Shared.Moment()
	conn.written, conn.heard, c.conn = conn.Since, conn.Since, conn
	c.owners = c.owners.Add(who, conn.Since)
	b.Connect()
	if old == nil {
		b.Shared.Joins.Add(1)
		b.Shared.Report.Moved(b.ID, nil)
	} else {
		b.Shared.Takeovers.Add(1)
		c.close(old, nil, frame.StatusReplaced)
	}
	c.WakeLocked()
	return true, nil
}

// Remove removes and closes the connection with status, and returns it, nil if there is none. If
// who is an owner of another connection, it only notes that this owner has left. The zero Caller
// may remove any. Remove reports done as false, and does nothing, if the backlog is dead.
func (c *Cursor) Remove(who owners.Caller, status frame.Status) (removed *Connection, done bool) {
	c.backlog.Lock()
	defer c.backlog.Unlock()
	if c.backlog.Dead {
		return nil, false
	}
	its, stranger := c.owners.Del(who)
	if removed = c.conn; removed == nil || !stranger && removed.Since != its {
		return nil, true
	}
	c.RemoveLocked(outcome.ErrDeleted, status)
	return removed, true
}

// Detach removes and closes the connection with status if it is conn, and reports whether it is.
func (c *Cursor) Detach(conn *Connection, reason error, status frame.Status) bool {
	c.backlog.Lock()
	defer c.backlog.Unlock()
	if conn == nil || c.conn != conn {
		return false
	}
	if reason == outcome.ErrDeleted || reason == outcome.ErrLeft {
		c.owners.Left(conn.Since)
	}
	c.RemoveLocked(reason, status)
	return true
}

// RemoveLocked removes and closes the connection. Backlog.Disconnect decides where its messages
// go.
func (c *Cursor) RemoveLocked(reason error, status frame.Status) {
	b, conn := c.backlog, c.conn
	c.conn = nil
	b.Shared.Leaves.Add(1)
	b.Shared.Report.Moved(b.ID, reason)
	if remote := b.Shared.Remote(); remote != nil { // ConnPool.Add tells of a new one
		b.Shared.Tasks.Go(func() { remote.Changed(b.Shared.Pool, b.ID) })
	}
	if f := c.flight; f != nil && f.conn != conn && f.conn.ending.reason == nil {
		f.conn.ending.reason = reason // what the write to an older connection leaves has nowhere to go any more
	}
	b.Disconnect(reason)
	c.close(conn, reason, status)
}

// close closes conn, which was removed or replaced. If a write to it is under way, it closes conn
// when the write has ended, or when judge finds it stuck.
func (c *Cursor) close(conn *Connection, reason error, status frame.Status) {
	conn.life, conn.ending = closing, &ending{reason, status}
	if f := c.flight; f == nil || f.conn != conn {
		conn.close(c.backlog.Shared)
	} else {
		f.judgeAfter(0)
	}
}

// ConnLocked returns the connection, nil if the id is away. If a write to it stalls, it also
// returns when the peer last took something; otherwise the zero time.
func (c *Cursor) ConnLocked() (conn *Connection, stalledSince time.Time) {
	if c.turn == stalled && c.flight.conn == c.conn {
		stalledSince = c.flight.since
	}
	return c.conn, stalledSince
}

// Retire returns who added connections of the id, and whether nothing keeps the id any more. If
// so, the backlog is dead from now on.
func (c *Cursor) Retire() (o owners.List, retired bool) {
	b := c.backlog
	b.Lock()
	defer b.Unlock()
	b.Dead = c.conn == nil && c.flight == nil && c.turn == idle && b.Log.Empty()
	return c.owners, b.Dead
}
