package schedule

import "sync/atomic"

// A Writer serves one cursor after the other, on a goroutine of its own or, for one write,
// on its caller's.
type Writer struct {
	Scratch any // the cursors', kept from one write to the next

	line     *Line
	cursor   Cursor        // changed by the writer, under line.mu
	replaced atomic.Bool   // its peer holds it up
	steps    atomic.Uint32 // odd while in a write
	seen     uint32        // steps at the monitor's last tick; line.mu
}

// serve is the life of a writer; c is the first cursor. One that was replaced goes on with
// its own peer alone, until that lets go.
func (w *Writer) serve(c Cursor) {
	for more := false; c != nil; c = w.line.next(w, more) {
		for more = c.Serve(w); more && w.replaced.Load(); {
			more = c.Serve(w)
		}
	}
}

// Begin marks the begin of a write that may take long, and End its end.
func (w *Writer) Begin() { w.steps.Add(1) }

// End ends what Begin has begun.
func (w *Writer) End() { w.steps.Add(1) }

// Moved notes that a write has come further, and reports whether it has taken long already:
// then w was replaced.
func (w *Writer) Moved() (stalled bool) {
	w.steps.Add(2)
	return w.replaced.Load()
}

// Replaced reports whether w serves only one peer.
func (w *Writer) Replaced() bool { return w.replaced.Load() }

// stuck reports whether w has been in the same write since the last call.
func (w *Writer) stuck() bool {
	steps := w.steps.Load()
	stuck := steps%2 == 1 && steps == w.seen
	w.seen = steps
	return stuck
}

// Done ends what Inline has begun, with more if the cursor has more to write. What stands in
// line is for a goroutine, not for the caller.
func (w *Writer) Done(more bool) {
	l := w.line
	if c := l.next(w, more); c != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.employLocked(func() { w.serve(c) })
	}
}

// GoOn has a goroutine end what Inline has begun: rest, which reports whether more waits.
func (w *Writer) GoOn(rest func() (more bool)) {
	w.line.mu.Lock()
	defer w.line.mu.Unlock()
	w.line.employLocked(func() { w.serve(w.line.next(w, rest())) })
}
