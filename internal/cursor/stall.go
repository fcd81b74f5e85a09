package cursor

import (
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/schedule"
)

const (
	// patience is how long a full outbox waits for a peer that takes nothing.
	patience = time.Second
	// takeoverGrace is how long a write under way may still take after its connection was replaced
	// or removed: long enough for a write that is not stuck. Messages for the new connection wait
	// meanwhile, and up to 2 s more if closing the old connection does not end the write.
	takeoverGrace = 20 * time.Millisecond
	// closeGrace is the same for a WebSocket, which should get a close frame after the write. A
	// peer that is busy or far away takes longer to make room for that frame. The grace ends early
	// when a new connection waits, or when the context of Shutdown ends.
	closeGrace = time.Second
	// takeoverPatience is the exception: a peer that has acknowledged something within it keeps
	// closeGrace even while a new connection waits. Such a peer is reading, and must see why it is
	// closed; otherwise its client connects again, and replaces the newer connection.
	takeoverPatience = 300 * time.Millisecond
	// last is how long a write may still be stuck after its connection was closed. Then the write
	// is given up.
	last = 200 * time.Millisecond
	// judge waits for last up to lastTries more times, unless Shutdown's context has ended: on a
	// busy machine, the goroutine of a write that has ended can take that long to run.
	lastTries = 9
)

// Stalled starts the clock of a write that has taken a tick.
func (c *Cursor) Stalled(w *schedule.Writer) { watch(c, w, schedule.Tick) }

// watch starts the clock of w's write, unless that write has ended. already is how long it has
// not moved.
func watch(c *Cursor, w *schedule.Writer, already time.Duration) {
	c.backlog.Lock()
	defer c.backlog.Unlock()
	if f := c.flight; f != nil && f.writer == w {
		f.stall(already)
	}
}

// PatienceLocked returns how much longer a message may wait for room: until the peer has taken
// nothing for patience. For an id that is away, it returns the time until the next look.
func (c *Cursor) PatienceLocked() time.Duration {
	f := c.flight
	if c.conn == nil {
		return time.Millisecond
	}
	if f == nil || f.conn != c.conn || f.since.IsZero() {
		return patience
	}
	if rest := patience - time.Since(f.since); rest > 0 {
		return rest
	}
	f.look()
	return patience - time.Since(f.since)
}

// stall starts the clock of a write that has not ended; already is how long it has taken, or has
// not moved. If the connection was replaced or removed, stall does nothing, because close has
// started a clock.
func (f *flight) stall(already time.Duration) {
	if f.conn != f.cursor.conn {
		return
	}
	f.cursor.turn = stalled
	f.look()
	f.since = time.Now().Add(-already)
	f.pause(already)
}

// pause schedules the next look at a write. That look comes no later than the end of the write's
// time, and usually sooner, for two reasons: an acknowledgement comes long before the write
// moves, and a look that comes late shows that the process was stopped.
func (f *flight) pause(already time.Duration) {
	limit := f.cursor.backlog.Shared.WriteTimeout
	f.judgeAfter(min(limit-already, limit/8, patience/4))
}

// look notes whether the peer has taken something since the last look: its system has
// acknowledged some of this write, or of another write for which this one waits. If so, the peer
// is alive. The first look only notes how much the peer has taken so far. While a message of the
// application is unfinished, only the progress of that message counts.
func (f *flight) look() {
	now, first := f.conn.Progress(), f.since.IsZero()
	if !first && !now.Since(f.taken) {
		return
	}
	if f.since, f.taken = time.Now(), now; !first && now.Tells() {
		f.conn.heard = f.cursor.backlog.Shared.Line.Now()
	}
}

// judgeAfter makes judge look at f after d, unless f has landed by then.
func (f *flight) judgeAfter(d time.Duration) {
	if f.timer != nil {
		f.timer.Stop()
	}
	c := f.cursor // by then f may belong to another cursor
	var timer *time.Timer
	due := time.Now().Add(d)
	timer = time.AfterFunc(d, func() { c.judge(f, &timer, time.Since(due)) })
	f.timer = timer
}

// judge closes the connection in which f is stuck, if f's time is over. If closing has not ended
// the write, judge gives the write up: messages that went whole count as written, the others as
// undelivered. If the system cannot see progress, the time by which judge itself is late does not
// count: the process was stopped, or its machine slept, and the write has not run meanwhile.
func (c *Cursor) judge(f *flight, timer **time.Timer, late time.Duration) {
	b := c.backlog
	b.Lock()
	defer b.Unlock()
	if c.flight != f || f.timer != *timer { // f has landed, and may be another write by now
		return
	}
	conn, already := f.conn, b.Shared.WriteTimeout
	if conn == c.conn {
		if f.look(); !f.taken.Tells() {
			f.since = f.since.Add(late)
		}
		already = time.Since(f.since)
	}
	switch {
	case already < b.Shared.WriteTimeout:
		f.pause(already)
	case conn.life != closed && f.granted():
		f.tries++
		f.judgeAfter(takeoverGrace)
	case conn.life != closed:
		f.tries = 0
		f.close()
		f.judgeAfter(last)
	case f.tries < lastTries && b.Shared.Over.Err() == nil:
		f.tries++
		f.judgeAfter(last)
	default:
		reason := backlog.CutFor(conn.ending.reason)
		if reason == outcome.ErrReplaced {
			reason = outcome.ErrSlow
		}
		f.abandon(reason)
	}
}

// granted reports whether a write to a connection that was removed or replaced may take another
// takeoverGrace. The peer counts as reading if its system has acknowledged something within
// takeoverPatience, or if judge first looked at the write less than takeoverPatience ago.
func (f *flight) granted() bool {
	c := f.cursor
	switch {
	case f.conn.ending.status.Code == 0:
		return false
	case f.tries == 0:
		return true
	case !f.conn.WebSocket() || f.tries >= int(closeGrace/takeoverGrace):
		return false
	case c.conn == nil:
		return c.backlog.Shared.Over.Err() == nil
	}
	f.look()
	return f.taken.Tells() && time.Since(f.since) < takeoverPatience
}

// close closes the connection in which f is stuck.
func (f *flight) close() {
	c, conn := f.cursor, f.conn
	if conn == c.conn {
		reason := outcome.ErrSlow
		if conn.Progress().Held {
			reason = outcome.ErrUnfinished
		}
		c.RemoveLocked(reason, frame.Status{})
	}
	if conn.ending.status.Code != 0 && conn.Progress().Idle() { // f waits for its turn, or for a processor
		conn.close(c.backlog.Shared)
		return
	}
	conn.kill(c.backlog.Shared)
}

// abandon gives up f, which may never return. It reports the messages that f may not have
// written, and the cursor goes on without f. It closes the connection if judge has not done so:
// on a busy machine, Shutdown's time can be over before judge runs, and judge ignores a write
// that was given up.
func (f *flight) abandon(reason error) {
	c := f.cursor
	if f.conn.life != closed {
		f.conn.kill(c.backlog.Shared)
	}
	c.backlog.Abandon(int(f.went.Load()), reason)
	c.flight, c.turn = nil, idle
	c.WakeLocked()
}
