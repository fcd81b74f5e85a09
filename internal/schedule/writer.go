package schedule

import (
	"sync/atomic"
	"time"
)

// A Writer serves one cursor after the other, on a goroutine of its own or, for one write, on the
// goroutine of its caller.
type Writer struct {
	Scratch any // what a cursor keeps from one write of w to the next

	line     *Line
	cursor   Cursor        // changed by the writer, under line.mu
	more     bool          // the cursor has more to write
	inline   time.Duration // when Add began its write, on the line's clock; 0 for a goroutine
	replaced atomic.Bool   // its peer holds it up
	steps    atomic.Uint32 // odd while in a write
	seen     uint32        // steps at the monitor's last tick; guarded by line.mu
}

// Next puts w's last cursor back in line if it has more to write, and takes the first cursor in
// line. It reports false, and dismisses w, if there is none, or if there are enough writers
// without w.
func (w *Writer) Next() bool {
	l := w.line
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.more {
		l.putLocked(w.cursor)
		w.more = false
	}
	if w.replaced.Swap(false) {
		l.stalled.Add(-1)
		l.serving = append(l.serving, w)
	}
	c := l.first
	if c == nil || len(l.serving) > l.limit {
		l.dismissLocked(w)
		return false
	}
	place := c.place()
	l.first, place.next, w.cursor = place.next, nil, c
	l.length--
	return true
}

// Write makes one write for the cursor that Next took. If w was replaced meanwhile, it goes on
// with that cursor alone, until its peer lets go.
func (w *Writer) Write() {
	for w.more = w.cursor.Serve(w); w.more && w.replaced.Load(); {
		w.more = w.cursor.Serve(w)
	}
}

// Begin marks the beginning of a write that may take long, and End its end.
func (w *Writer) Begin() { w.steps.Add(1) }

// End ends what Begin has begun.
func (w *Writer) End() { w.steps.Add(1) }

// Replaced reports whether w serves only one peer, because the current write or one before it has
// taken a tick.
func (w *Writer) Replaced() bool { return w.replaced.Load() }

// stuck reports whether w has been in the same write since the last call.
func (w *Writer) stuck() bool {
	steps := w.steps.Load()
	stuck := steps%2 == 1 && steps == w.seen
	w.seen = steps
	return stuck
}

// Done ends what Inline has begun; more says whether the cursor has more to write. A goroutine,
// not the caller, serves the cursors in line.
func (w *Writer) Done(more bool) {
	w.more = more
	if w.Next() {
		w.employ(w.Write)
	}
}

// GoOn starts a goroutine that ends what Inline has begun. The goroutine calls rest, which
// reports whether more waits.
func (w *Writer) GoOn(rest func() (more bool)) {
	w.employ(func() { w.more = rest() })
}

// employ starts a goroutine that makes w's current write, and then drains the line.
func (w *Writer) employ(present func()) {
	w.line.mu.Lock()
	defer w.line.mu.Unlock()
	w.inline = 0
	w.line.employLocked(func() {
		present()
		w.line.drain(w)
	})
}
