package cursor

import (
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
)

// Attach makes conn the cursor's connection, and the goroutine who its owner. The newest connection
// wins. But a connection whose peer has already closed it does not count as the newest: the peer
// may have come back, here or to another process, before the handler called Add. Attach closes
// such a connection, and its handler's Del will remove no other connection. If the backlog is
// dead, Attach does nothing and reports false.
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
	conn.used, conn.heard, c.conn = conn.Since, conn.Since, conn
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

// Remove removes the connection, closes it with status, and returns it, or nil if it removes
// none. If who is the owner of another connection, Remove only notes that this owner has left.
// The zero Caller may remove any connection. If the backlog is dead, Remove does nothing and
// reports done as false.
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

// Detach removes the connection and closes it with status, if it is conn, and reports whether it
// was.
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
	if remote := b.Shared.Remote(); remote != nil { // for a new connection, ConnPool.Add does this
		b.Shared.Tasks.Go(func() { remote.Changed(b.Shared.Pool, b.ID) })
	}
	if f := c.flight; f != nil && f.conn != conn && f.conn.ending.reason == nil {
		f.conn.ending.reason = reason // what that write leaves has no newer connection to go to
	}
	b.Disconnect(reason)
	c.close(conn, reason, status)
}

// close closes conn, which was removed or replaced. If a write to conn is under way, conn is
// closed when that write has ended, or when judge finds it stuck.
func (c *Cursor) close(conn *Connection, reason error, status frame.Status) {
	conn.life, conn.ending = closing, &ending{reason, status}
	if f := c.flight; f == nil || f.conn != conn {
		conn.close(c.backlog.Shared)
	} else {
		f.judgeAfter(0)
	}
}

// ConnLocked returns the connection, or nil if the id is away. If a write to that connection
// stalls, ConnLocked also returns when the peer last took something, and otherwise the zero time.
func (c *Cursor) ConnLocked() (conn *Connection, stalledSince time.Time) {
	if c.turn == stalled && c.flight.conn == c.conn {
		stalledSince = c.flight.since
	}
	return c.conn, stalledSince
}

// Retire returns the owners of the id's connections, and whether nothing keeps the id any more.
// If nothing does, the backlog is dead from now on.
func (c *Cursor) Retire() (o owners.List, retired bool) {
	b := c.backlog
	b.Lock()
	defer b.Unlock()
	b.Dead = c.conn == nil && c.flight == nil && c.turn == idle && b.Log.Empty()
	return c.owners, b.Dead
}
