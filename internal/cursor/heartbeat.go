package cursor

import (
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// Beat is called about once a second. It makes a ping due for a WebSocket whose peer has sent
// nothing for a heartbeat. If the pool cannot see what the peer sends, a ping is due when nothing
// was written to the peer for a heartbeat. Beat removes a connection whose handler has returned
// without Del, or whose peer has been silent for two heartbeats. It retires the id if nothing
// keeps it.
//
// A peer is silent if it neither sends nor acknowledges anything. Once the ping has reached the
// peer's system, only an answer counts. Time in which the process was stopped, or its machine
// slept, does not count.
//
// Beat returns how many bytes wait in the outbox.
func (c *Cursor) Beat(now, lost time.Duration) (waits int) {
	b := c.backlog
	d, begun := b.Shared.Heartbeat, b.Shared.Line.Opened()
	b.Lock()
	conn, alive := c.conn, c.active || c.turn != idle || !begun
	if !c.active {
		b.Log.FreeSpare()
	}
	c.active = false
	waits = b.Outbox().Bytes
	if conn == nil {
		empty := b.Log.Empty()
		b.Unlock()
		if empty { // Retire locks the whole registry
			b.Shared.Retire(b.ID)
		}
		return waits
	}
	heard, tells := conn.Heard()
	heard = heard || d > 0 && now-conn.heard >= d && conn.Taking() || !begun
	conn.note(now, lost, heard || b.Travels(), tells && heard || !tells && alive) // no ping can pass a batch
	switch silent, ping := conn.overdue(now, d); {
	case silent:
		c.RemoveLocked(outcome.ErrSilent, frame.StatusGoingAway)
	case ping:
		conn.say(frame.Ping, now)
		c.WakeLocked()
	}
	b.Unlock()
	if conn.Left() { // asks a context of the application
		c.ask(conn, outcome.ErrLeft, b.Shared.Farewell())
	}
	return waits
}

// note notes at now whether the peer was heard. quick says that it needs no ping. Time that was
// lost does not count.
func (conn *Connection) note(now, lost time.Duration, heard, quick bool) {
	conn.heard = min(conn.heard+lost, now)
	if heard {
		conn.heard = now
	}
	if quick && conn.life == open {
		conn.used = now
	}
}

// overdue reports whether the peer has been silent for too long at a heartbeat of d or, if not,
// whether to ping it.
func (conn *Connection) overdue(now, d time.Duration) (silent, ping bool) {
	if d == 0 {
		return false, false
	}
	silent = (now-conn.heard)/2 >= d
	return silent, !silent && conn.life == open && conn.WebSocket() && now-conn.used >= d
}

// ask removes conn with status if conn has been closed. Asking can block, so it happens on a
// goroutine of its own, one at a time for each connection.
func (c *Cursor) ask(conn *Connection, reason error, status frame.Status) {
	if conn.asking.Swap(true) {
		return
	}
	c.backlog.Shared.Tasks.Go(func() {
		if conn.Closed() {
			c.Detach(conn, reason, status)
		}
		conn.asking.Store(false)
	})
}

// Leave takes the cursor one step toward its end. When nothing waits for the peer any more, Leave
// says goodbye. When the peer has left, or does not answer, or over is true, Leave removes the
// connection. A raw connection gets no goodbye. With giveUp, Leave gives up a write that heeds
// neither deadline nor Close.
func (c *Cursor) Leave(over, giveUp bool) {
	b := c.backlog
	now := b.Shared.Line.Now()
	b.Lock()
	if conn := c.conn; conn != nil {
		conn.GoAway()
		switch said := conn.life == goodbye; {
		case !over && c.turn != idle: // messages go first
		case !over && !said && conn.WebSocket():
			conn.say(frame.Close, now)
			c.WakeLocked()
		case !said:
			c.RemoveLocked(outcome.ErrClosed, frame.StatusGoingAway)
		case over || now-conn.used >= b.Shared.WriteTimeout: // unanswered
			c.RemoveLocked(outcome.ErrClosed, frame.Status{})
		default:
			c.ask(conn, outcome.ErrClosed, frame.StatusGoingAway) // 1000 would tell a client not to come back
		}
	}
	if giveUp && c.flight != nil {
		c.flight.abandon(outcome.ErrClosed)
	}
	away := c.conn == nil
	b.Unlock()
	if away {
		if over {
			c.WithoutRemote(outcome.ErrClosed, true)
		}
		b.Shared.Retire(b.ID)
	}
}
