package cursor

import (
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/schedule"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// A flight is one write of a chunk or a control frame to a connection. It ends when the write
// returns or, where a connection heeds neither deadline nor Close, when it is given up.
type flight struct {
	// Owned by the writer.
	writer *schedule.Writer
	moved  func(n int)  // f.progress, kept because each method value allocates
	inline func()       // f.once, kept likewise
	tried  int          // bytes of chunk that Try has written
	went   atomic.Int64 // bytes of chunk that have been written

	// Guarded by the backlog's lock.
	cursor *Cursor
	conn   *Connection
	chunk  *outbox.Chunk // nil for a control frame
	op     byte          // of the control frame, 0 for a chunk

	since time.Time          // when the write last moved; zero until it is watched
	taken transport.Progress // the progress of the connection at since
	timer *time.Timer        // judges the write; nil until it is watched
	tries int                // how often it got more time since its connection was replaced, or since it was closed
}

// begin begins a write for w: of the control frame that is due, or else of the first chunk. A
// ping goes ahead of messages, because the pong shows that the peer is alive. When a goodbye is
// due, no message waits.
func begin(c *Cursor, w *schedule.Writer) *flight {
	f, _ := w.Scratch.(*flight)
	if f == nil {
		f = new(flight)
		f.moved, f.inline = f.progress, f.once
		w.Scratch = f
	}
	*f = flight{writer: w, moved: f.moved, inline: f.inline, cursor: c, conn: c.conn, op: c.conn.control}
	if f.op == 0 {
		f.chunk = c.backlog.Log.Pin(false)
	}
	c.conn.control = 0
	c.flight, c.turn = f, writing
	if w.Replaced() {
		f.stall(0)
	}
	return f
}

// once writes as much as the system takes without waiting. It runs on the goroutine of Add,
// because waking another goroutine costs as much as the write. Another goroutine writes the rest,
// and the messages of other ids.
func (f *flight) once() {
	frames := f.chunk.Frames() // pinned, so no lock is needed
	n := f.conn.Try(frames)
	if n < len(frames) {
		f.tried = n
		f.went.Store(int64(n))
		f.writer.GoOn(f.write)
		return
	}
	f.writer.Done(f.land(n, nil))
}

// write writes what f carries, and reports whether more waits.
func (f *flight) write() (more bool) {
	conn := f.conn
	f.writer.Begin()
	var n int
	var err error
	switch {
	case f.tried > 0:
		n, err = conn.Rest(f.chunk.Frames()[f.tried:], f.moved)
		n += f.tried
	case f.op == 0:
		n, err = conn.Send(f.chunk.Frames(), f.moved)
	case f.op == frame.Ping:
		err = conn.Ping()
	default:
		err = conn.Goodbye(frame.StatusGoingAway)
	}
	err = outcome.Failure(err) // may call methods of the connection's error
	f.writer.End()
	return f.land(n, err)
}

// progress notes that a piece was written, and that n bytes of this write have gone in all.
func (f *flight) progress(n int) {
	f.went.Store(int64(f.tried + n))
	if f.writer.Replaced() {
		watch(f.cursor, f.writer, 0)
	}
}

// land settles a write that has returned: n bytes went, and err is its Failure. It reports
// whether more waits.
func (f *flight) land(n int, err error) (more bool) {
	c := f.cursor
	b := c.backlog
	b.Lock()
	defer b.Unlock()
	if c.flight != f { // it was given up, and settled at that time
		return false
	}
	if f.timer != nil {
		f.timer.Stop()
	}
	conn, reason, failed := f.conn, f.conn.ending.reason, err != nil && f.conn == c.conn
	if failed {
		reason = err
	}
	left := false
	if chunk := f.chunk; chunk != nil {
		if err == nil && chunk.Born > 0 {
			b.Shared.Observe(b.Shared.Line.Now() - chunk.Born)
		}
		left = b.Settle(chunk, n, conn.Usable(n, err), reason, c.active)
	}
	c.flight, f.chunk = nil, nil
	if failed {
		c.RemoveLocked(err, frame.StatusGoingAway)
	} else if left && c.conn == nil {
		b.Disconnect(reason)
	}
	if conn.life == closing {
		conn.close(b.Shared)
	}
	c.active, c.turn = true, idle
	if more = c.due(); more {
		c.turn = queued
	}
	return more
}
