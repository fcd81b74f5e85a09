package delivery

import (
	"context"
	"net"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/schedule"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// A cursor is the turn of an id's connection to write what the log has first. The cursor, not
// the id, stands in line, stalls and times out. Guarded by
// the recipient's mu.
type cursor struct {
	schedule.Place
	recipient *Recipient
	turn      turn
	conn      *Connection // nil while the id is away
	flight    *flight     // the write under way, maybe to an older connection; nil if none is
}

// A connection is what a recipient keeps about one. Guarded by the recipient's mu.
type Connection struct {
	transport.Link
	life    life
	control byte          // the opcode of a control frame that is due, 0 if none is
	asking  bool          // a goroutine asks whether it has been closed
	since   time.Duration // when it was attached
	written time.Duration // when a write was last noticed
	heard   time.Duration // when the peer was last heard
	ending  *ending       // nil while it is attached
}

// NewConnection returns a Connection, or nil if conn is nil or a nil pointer; see
// transport.Link.Init.
func NewConnection(conn net.Conn, binary bool) *Connection {
	if c := new(Connection); c.Init(conn, binary) {
		return c
	}
	return nil
}

// An ending is why a connection was removed, and how to close it.
type ending struct {
	reason error // nil if it was replaced
	status transport.Status
}

// Serve writes the first chunk that waits, or the control frame that is due.
func (c *cursor) Serve(w *schedule.Writer) (more bool) {
	r := c.recipient
	r.mu.Lock()
	if !c.due() {
		c.turn = idle
		r.mu.Unlock()
		return false
	}
	if c.conn == nil {
		r.forwarderLocked().send(w)
		return false
	}
	f := c.take(w)
	r.mu.Unlock()
	return f.write()
}

// due reports whether there is something to write, or to forward.
func (c *cursor) due() bool {
	r := c.recipient
	switch {
	case c.conn != nil:
		return c.conn.control != 0 || r.log.Waits()
	case c.flight != nil || !r.log.Waits():
		return false
	case r.isRemoteLocked() && r.mail.messages() > 0:
		return r.forward.wants() != forwardNone
	case r.isRemoteLocked(): // also what has waited for Start since before there was a remote
		return true
	}
	return r.undecidedLocked()
}

// wake puts c in line if there is something to write.
func (c *cursor) wake() {
	if c.turn == idle && c.due() {
		c.turn = queued
		c.recipient.group.line.Put(c)
	}
}

// inline is wake for a caller that can write by itself: it may return a write
// for that.
func (c *cursor) inline() *flight {
	if c.turn != idle || c.conn == nil || !c.conn.Tries() || !c.recipient.log.Waits() {
		c.wake()
		return nil
	}
	c.turn = queued
	if w := c.recipient.group.line.Inline(c); w != nil {
		return c.take(w)
	}
	return nil
}

// take begins a write. A ping is first, for its pong tells that the peer is alive;
// where a goodbye is due, nothing else is.
func (c *cursor) take(w *schedule.Writer) *flight {
	f, _ := w.Scratch.(*flight)
	if f == nil {
		f = &flight{writer: w}
		f.moved = f.progress
		w.Scratch = f
	}
	f.begin(c)
	if f.op = c.conn.control; f.op == 0 {
		f.chunk = c.recipient.log.Pin(false)
	}
	c.conn.control = 0
	c.flight, c.turn = f, writing
	if w.Replaced() {
		c.turn = stalled
		f.watch(0)
	}
	return f
}

// travels reports whether a batch of the id's messages is on its way to another process.
func (c *cursor) travels() bool { return c.flight != nil && c.flight.conn == nil }

// end chooses the next turn after a write, and returns whether more waits.
func (c *cursor) end() (more bool) {
	c.recipient.active = true
	c.turn = idle
	if more = c.due(); more {
		c.turn = queued
	}
	return more
}

// say has a control frame written next.
func (c *cursor) say(op byte, now time.Duration) {
	c.conn.control, c.conn.written = op, now
	if op == frame.Close {
		c.conn.life = goodbye
	}
	c.wake()
}

// patience returns how long a message may wait for room now: for as long as a peer
// has taken something within patience.
func (c *cursor) patience() time.Duration {
	f := c.flight
	if f == nil || f.conn != c.conn || f.since.IsZero() {
		return patience
	}
	if rest := patience - time.Since(f.since); rest > 0 {
		return rest
	}
	f.look()
	return patience - time.Since(f.since)
}

// close has conn, which was removed or replaced, closed, once a write to it that is
// not stuck has ended.
func (c *cursor) close(conn *Connection, reason error, status transport.Status) {
	conn.life, conn.ending = closing, &ending{reason, status}
	if f := c.flight; f == nil || f.conn != conn {
		c.closeNow(conn)
	} else {
		f.judgeAfter(c.grace(conn))
	}
}

// grace returns how long a write to conn, which was removed or replaced, may take.
func (c *cursor) grace(conn *Connection) time.Duration {
	switch {
	case conn.ending.status.Code == 0:
		return 0
	case c.conn == nil && conn.WebSocket() && !c.recipient.group.closed.Load():
		return closeGrace
	}
	return takeoverGrace
}

// closeNow closes conn on a goroutine of its own, for that may take a while. Shutdown waits
// until the socket is closed, but not past Cut.
func (c *cursor) closeNow(conn *Connection) {
	conn.life = closed
	g := c.recipient.group
	g.tasks.Begin()
	stop := context.AfterFunc(g.over, func() {
		defer g.tasks.End()
		conn.Kill()
	})
	go conn.Close(conn.ending.status, func() {
		if stop() {
			g.tasks.End()
		}
	})
}

// leftFor returns why conn was removed, nil if it was not, or was replaced.
func (conn *Connection) leftFor() error {
	if conn.ending == nil {
		return nil
	}
	return conn.ending.reason
}
