package delivery

import (
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/schedule"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// A flight is one write: of a chunk or a control frame to a connection, or of a batch to a
// remote. It ends when the write returns or, where a connection heeds neither deadline nor
// Close, when it is given up.
type flight struct {
	// The writer's.
	writer *schedule.Writer // nil if the remote has it
	moved  func(n int)      // progress, which takes memory each time it is named
	tried  int              // bytes of chunk that went before this write
	went   atomic.Int64     // bytes of chunk that have gone

	// Guarded by the recipient's mu.
	cursor *cursor
	conn   *Connection   // nil if the remote has it
	chunk  *outbox.Chunk // nil for a control frame, and for a batch
	op     byte          // of the control frame

	since time.Time          // when the write last moved; zero until it is watched
	taken transport.Progress // of the connection then
	timer *time.Timer        // judges the write; nil until it is watched
	tries int                // how often it was waited for since its connection was closed

	batch []outbox.Message // what the remote has
	mail  int              // so many of its first messages are in the mailbox
	late  int              // so many of its first messages have given way there meanwhile
}

// begin makes f the next write of c's connection.
func (f *flight) begin(c *cursor) {
	f.cursor, f.conn, f.chunk = c, c.conn, nil
	f.tried, f.tries, f.since, f.taken, f.timer = 0, 0, time.Time{}, transport.Progress{}, nil
}

// once writes in the goroutine of Add, as far as the system takes it at once: the way to
// another goroutine costs as much as the write. What is left, of it or of others, is for a
// goroutine.
func (f *flight) once() {
	frames := f.chunk.Frames()
	n, all := f.conn.Try(frames)
	if !all {
		f.tried = n
		f.writer.GoOn(f.write)
		return
	}
	f.writer.Done(f.land(len(frames), nil))
}

// write writes what f carries, and reports whether more waits.
func (f *flight) write() (more bool) {
	f.went.Store(int64(f.tried))
	conn := f.conn
	f.writer.Begin()
	var n int
	var err error
	switch {
	case f.chunk != nil:
		n, err = conn.Send(f.chunk.Frames()[f.tried:], f.moved)
		n += f.tried
	case f.op == frame.Ping:
		err = conn.Ping()
	default:
		err = conn.Goodbye(transport.StatusGoingAway)
	}
	err = outcome.Failure(err) // which may ask the connection's own
	f.writer.End()
	return f.land(n, err)
}

// progress notes that the peer took a piece, and n bytes by now.
func (f *flight) progress(n int) {
	f.went.Store(int64(f.tried + n))
	if f.writer.Moved() {
		r := f.cursor.recipient
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.cursor.flight == f {
			f.stall(0)
		}
	}
}

// land settles a write that has returned: n bytes went, and err is its Failure. It reports
// whether more waits.
func (f *flight) land(n int, err error) (more bool) {
	c := f.cursor
	r := c.recipient
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.flight != f { // given up, and settled then
		return false
	}
	if f.timer != nil {
		f.timer.Stop()
	}
	conn, reason, failed := f.conn, f.conn.leftFor(), err != nil && f.conn == c.conn
	if failed {
		reason = err
	}
	left := f.unload(n, reason, err == nil)
	c.flight, f.chunk = nil, nil
	switch {
	case failed:
		r.removeLocked(err, transport.StatusGoingAway)
	case !left || c.conn != nil:
	case r.isRemoteLocked() && (reason == outcome.ErrMoved || r.forward.wants() == forwardAll):
		r.mail.leave() // it has come behind what is left
		r.forwarderLocked().evict()
	default:
		r.abandonLocked(reason, outcome.ErrExpired)
	}
	if conn.life == closing {
		c.closeNow(conn)
	}
	return c.end()
}

// unload settles f's chunk, of which n bytes went, and then what was given up behind it. It
// reports whether messages are left, which wait again.
func (f *flight) unload(n int, reason error, ok bool) (left bool) {
	r, c := f.cursor.recipient, f.chunk
	if c == nil { // a control frame
		r.tellGivenUp()
		return false
	}
	if ok && c.Born > 0 {
		r.group.Observe(r.group.line.Now() - c.Born)
	}
	if n == len(c.Frames()) && c.Receipts() == 0 {
		r.allWritten(c)
		r.tellGivenUp()
		r.log.Written(r.active)
		return false
	}
	f.settle(n, reason)
	left = c.Messages > 0
	r.tellGivenUp()
	r.log.Unpin()
	return left
}

// settle gives an outcome to the messages of f's chunk that have one. Of the chunk n bytes
// went to a connection that left for reason, if it did. A message that was cut is sent again,
// whole, if its peer cannot have it. It stays, with those behind it, if it can wait for
// another connection.
func (f *flight) settle(n int, reason error) {
	r, c := f.cursor.recipient, f.chunk
	n -= r.written(c, n)
	if c.Messages > 0 && n > 0 && !f.conn.Resends() {
		half := c.First()
		half.Cut = true
		r.fail(half, cutFor(reason))
	}
	if reason != nil && !r.group.keeps(reason) {
		for c.Messages > 0 {
			r.fail(c.First(), reason)
		}
	}
}

// cutFor is the outcome of a message that was cut, and may not be sent again, on a connection
// that left for reason.
func cutFor(reason error) error {
	if reason == nil || reason == outcome.ErrMoved {
		return outcome.ErrReplaced
	}
	return reason
}

// keeps reports whether what waits stays, to leave on another connection or to wait in the
// mailbox, when a connection leaves for reason.
func (g *Group) keeps(reason error) bool {
	return g.mailboxOn() || reason == outcome.ErrMoved && g.remote.Load() != nil
}
