package outbox

import (
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// A writer is one goroutine that serves the ready queue; once a peer has held
// it up, only that peer's box, until the box is empty or the peer is given up.
type writer struct {
	group    *Group
	detached atomic.Bool   // replaced, for its peer holds it up
	steps    atomic.Uint32 // odd while in a write
	went     atomic.Int64  // how many bytes of chunk this write has got rid of
	moved    func(n int)   // progress, which takes memory each time it is named; the writer's
	seen     uint32        // steps at the monitor's last tick; group.mu
	box      *Box          // changed by the writer, under group.mu

	flight // the write under way; box.mu
}

// A flight is one write. It ends in land or, where the connection heeds
// neither deadline nor Close, in late.
type flight struct {
	link   *transport.Link
	chunk  *chunk             // nil for a control frame, and for a flight without a link
	batch  queue              // what that carries instead
	op     byte               // of that
	tried  int                // bytes of chunk that went before the write
	behind []left             // what waited behind chunk when a connection was removed
	reason error              // why link was removed; nil while it is not, or was replaced
	status transport.Status   // how to close link then
	since  time.Time          // when the write last moved; zero until it is watched
	taken  transport.Progress // of link then
	timer  *time.Timer        // ends the write; nil until it is watched
	closed bool               // link has been closed to end the write
	tries  int                // how often it has been waited for since
}

// left is what waited for a connection that was removed, and why it was.
type left struct {
	queue
	reason error
}

// serve is the life of a writer; b is the first box in line.
func (w *writer) serve(b *Box) {
	for ; b != nil; b = w.group.next(w) {
		for b.turn(w) {
			if !w.detached.Load() {
				w.group.enqueue(b)
				break
			}
		}
	}
}

// once writes what w carries in the goroutine of Add, as far as the system takes
// it at once: the way to another costs as much as the write. What is left, of it
// or of others, is for a goroutine.
func (w *writer) once() {
	g, b, c := w.group, w.box, w.chunk
	n, all := w.link.Try(c.buf[c.off:])
	if !all {
		w.tried = n
		g.employ(func() {
			if b.write(w) {
				g.enqueue(b)
			}
			w.serve(g.next(w))
		})
		return
	}
	if b.land(w, len(c.buf), nil) {
		g.enqueue(b)
	}
	if b = g.next(w); b != nil {
		g.employ(func() { w.serve(b) })
	}
}

// stuck reports whether w has been in the same write since the last call.
func (w *writer) stuck() bool {
	steps := w.steps.Load()
	stuck := steps%2 == 1 && steps == w.seen
	w.seen = steps
	return stuck
}

// turn writes the first chunk of b, or the control frame that is due, and
// reports whether more waits; then b is busy still.
func (b *Box) turn(w *writer) (more bool) {
	b.mu.Lock()
	if !b.dueLocked() {
		b.busy = false
		b.mu.Unlock()
		return false
	}
	if b.link == nil {
		b.forwardLocked(w)
		return false
	}
	b.takeLocked(w)
	b.mu.Unlock()
	return b.write(w)
}

// takeLocked has w carry what b is to write next. A ping is first, for its pong tells
// that the peer is alive; where a goodbye is due, nothing else is.
func (b *Box) takeLocked(w *writer) {
	w.flight = flight{link: b.link, op: b.control}
	if b.control == 0 {
		w.chunk = b.queue.take(0)
	}
	b.control = 0
	b.flight = w
	if w.detached.Load() {
		b.watchLocked(w, 0)
	}
}

// write writes what w carries, and reports whether more waits.
func (b *Box) write(w *writer) (more bool) {
	w.went.Store(int64(w.tried))
	w.steps.Add(1)
	var n int
	var err error
	if c := w.chunk; c == nil && w.op == frame.Ping {
		err = w.link.Ping()
	} else if c == nil {
		err = w.link.Goodbye(transport.StatusGoingAway)
	} else {
		if w.moved == nil {
			w.moved = w.progress
		}
		n, err = w.link.Send(c.buf[c.off+w.tried:], w.moved)
		n += c.off + w.tried
	}
	err = Failure(err) // which may ask the connection's own
	w.steps.Add(1)
	return b.land(w, n, err)
}

// progress notes that the peer took a piece, and n bytes by now.
func (w *writer) progress(n int) {
	w.went.Store(int64(w.tried + n))
	w.steps.Add(2)
	if w.detached.Load() {
		w.box.watch(w, 0)
	}
}

// watch starts the clock of a write that has not moved for so long already.
func (b *Box) watch(w *writer, already time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flight != w || w.link != b.link {
		return
	}
	if !w.since.IsZero() {
		b.lookLocked(w)
	}
	b.watchLocked(w, already)
}

func (b *Box) watchLocked(w *writer, already time.Duration) {
	w.since, w.taken = time.Now().Add(-already), w.link.Progress()
	b.pauseLocked(w, already)
}

// pauseLocked puts off the next look at a write that has not moved for so long: to when
// its time is over. Where the peer's system can be asked it is sooner, for what that
// acknowledges lets the write go on much later.
func (b *Box) pauseLocked(w *writer, already time.Duration) {
	limit := b.group.WriteTimeout
	rest := limit - already
	if w.taken.Tells() {
		rest = min(rest, limit/8, patience/4)
	}
	b.endLocked(w, rest)
}

// lookLocked notes whether the peer has taken something since: its system has
// acknowledged some of this write, or of another that this one waits for. Then it lives. An
// application that has begun a message has to go on with it.
func (b *Box) lookLocked(w *writer) {
	now := w.link.Progress()
	if !now.Since(w.taken) {
		return
	}
	if w.since, w.taken = time.Now(), now; now.Tells() {
		b.heard = b.group.Now()
	}
}

// endLocked has w's write judged if it has not landed after d.
func (b *Box) endLocked(w *writer, d time.Duration) {
	if w.timer != nil {
		w.timer.Stop()
	}
	var timer *time.Timer
	timer = time.AfterFunc(d, func() { b.late(w, &timer) })
	w.timer = timer
}

// late closes the connection that w is stuck in, if its time is over. Where even that did
// not help, it gives the write up: whether the peer got anything cannot be known, and each
// message counts as undelivered.
func (b *Box) late(w *writer, timer **time.Timer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flight != w || w.timer != *timer { // it has landed, and w may be with another box
		return
	}
	link, already := w.link, b.group.WriteTimeout
	if link == b.link {
		b.lookLocked(w)
		already = time.Since(w.since)
	}
	switch {
	case already < b.group.WriteTimeout:
		b.pauseLocked(w, already)
	case !w.closed:
		if w.closed = true; link == b.link {
			reason := ErrSlow
			if link.Held() {
				reason = errUnfinished
			}
			b.removeLocked(reason, transport.Status{})
		}
		b.endLocked(w, last)
		if w.status.Code != 0 && link.Progress().Idle() { // it waits for its turn, or for a processor
			b.group.closeLink(link, w.status)
		} else {
			b.group.spawn(link.Kill)
		}
	case w.tries < lastTries && !b.group.closed.Load():
		w.tries++
		b.endLocked(w, last)
	default:
		reason := w.why()
		if reason == errReplaced {
			reason = ErrSlow
		}
		b.giveUpLocked(w, reason)
	}
}

// why is the reason for a message that was cut, and must not be sent again.
func (w *writer) why() error {
	if w.reason == nil || w.reason == ErrMoved {
		return errReplaced
	}
	return w.reason
}
