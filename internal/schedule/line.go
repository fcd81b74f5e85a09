// Package schedule knows which cursor is next, who writes, and who is stalled. It does not
// know what is written.
//
// Cursors with something to write stand in a Line. A few writers, shared by all, take the
// first one, let it make one write, and put it back at the end if it has more. A writer that
// a peer holds up for longer than a tick is replaced, and serves only that peer from then on.
package schedule

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/tasks"
)

const (
	// Tick is how often the monitor looks. If it sees the same write twice, it replaces the
	// writer. So a write has taken at least this long when Stalled is called.
	Tick = 5 * time.Millisecond
	// several is how many writers replace one that is held up, for a tick. Otherwise, if many
	// peers stop together, as when a network fails, each would delay the line by a tick.
	several = 4
	// InlineCredit bounds the writes that Add itself makes. Time earns credit, up to this much,
	// and a write costs one and a half times the time that it takes. So messages that come one by
	// one need no other goroutine. A loop that calls Add soon runs out of credit; from then on its
	// messages gather.
	InlineCredit = 100 * time.Microsecond
)

// A Cursor is where one connection stands in the log of its id. It embeds a Place.
type Cursor interface {
	// Serve makes one write, and reports whether more waits. If more does, the cursor keeps its
	// turn.
	Serve(w *Writer) (more bool)
	// Stalled is called when the write has taken a tick, and w was replaced.
	Stalled(w *Writer)

	place() *Place
}

// A Place is a cursor's place in line.
type Place struct{ next Cursor }

func (p *Place) place() *Place { return p }

// A Line is the queue of the cursors of one pool that have something to write, first in, first
// out. It is the pool's stream of ids and payloads: the payloads of an id gather behind its
// place. A Go channel cannot do that. It would need room for all ids, and could not gather the
// messages of one id. Its writers would deadlock when they put cursors back into a full channel.
type Line struct {
	Begun   chan struct{} // closed by Open
	tasks   *tasks.Tasks
	start   time.Time
	drain   func(*Writer) // the life of a writer; set by Open
	stalled atomic.Int64  // writers that were replaced
	opened  atomic.Bool   // changed under mu

	_       [64]byte   // StreamPool.Add reads opened; writers change mu
	mu      sync.Mutex // a leaf
	first   Cursor
	last    Cursor
	length  int
	serving []*Writer // all writers that were not replaced
	limit   int       // how many may serve; more for a tick after many were replaced
	ticking bool
	ready   time.Duration // when Add has credit again, on Now's clock
	spare   *Writer       // a dismissed writer, to be used again
}

// NewLine returns a line that Open opens. Its goroutines are tasks of t.
func NewLine(t *tasks.Tasks) *Line {
	// The clock never reads 0, because 0 means no time.
	return &Line{tasks: t, start: time.Now().Add(-1), limit: runtime.GOMAXPROCS(0), Begun: make(chan struct{})}
}

// Now returns the time since the line was made.
func (l *Line) Now() time.Duration { return time.Since(l.start) }

// Time returns when Now's clock read d.
func (l *Line) Time(d time.Duration) time.Time { return l.start.Add(d) }

// Open starts writers for the cursors in line. Each runs drain on a goroutine of its own, until
// Next returns false. A second call does nothing.
func (l *Line) Open(drain func(w *Writer)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened.Swap(true) {
		return
	}
	l.drain = drain
	close(l.Begun)
	for l.staffLocked() {
	}
}

// Opened reports whether Open has been called.
func (l *Line) Opened() bool { return l.opened.Load() }

// Len returns how many cursors stand in line.
func (l *Line) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.length
}

// Stalled returns how many writers are held up by their peers.
func (l *Line) Stalled() int { return int(l.stalled.Load()) }

// Put puts c at the end of the line. c must not be in line already.
func (l *Line) Put(c Cursor) {
	l.mu.Lock()
	l.putLocked(c)
	l.mu.Unlock()
}

func (l *Line) putLocked(c Cursor) {
	if l.first == nil {
		l.first = c
	} else {
		l.last.place().next = c
	}
	l.last = c
	l.length++
	l.staffLocked()
}

// Inline returns a writer with which the caller itself serves c, if the line is open and idle and
// there is credit. The caller must then call Done or GoOn. Otherwise Inline puts c in line, and
// returns nil.
func (l *Line) Inline(c Cursor) *Writer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.serving) > 0 || l.first != nil || !l.opened.Load() || l.Now() < l.ready {
		l.putLocked(c)
		return nil
	}
	w := l.hireLocked()
	w.cursor, w.inline = c, l.Now()
	return w
}

// staffLocked adds a writer if one is due, and reports whether it has.
func (l *Line) staffLocked() bool {
	if l.first == nil || !l.opened.Load() || len(l.serving) >= l.limit {
		return false
	}
	w := l.hireLocked()
	l.employLocked(func() { l.drain(w) })
	return true
}

func (l *Line) hireLocked() *Writer {
	w := l.spare
	if l.spare = nil; w == nil {
		w = &Writer{line: l}
	}
	l.serving = append(l.serving, w)
	return w
}

func (l *Line) dismissLocked(w *Writer) {
	now := l.Now()
	if w.inline > 0 {
		took := min(now-w.inline, InlineCredit)
		l.ready = max(l.ready, w.inline-InlineCredit) + took + took/2
	} else { // the line was busy, so credit begins at zero
		l.ready = max(l.ready, now)
	}
	l.spare, w.inline = w, 0
	l.serving = slices.DeleteFunc(l.serving, func(o *Writer) bool { return o == w })
}

func (l *Line) employLocked(serve func()) {
	l.tasks.Go(serve)
	if !l.ticking {
		l.ticking = true
		l.tasks.After(Tick, l.monitor)
	}
}

// monitor replaces the writers that have been in one write since the last tick. It runs
// only while there are writers.
func (l *Line) monitor() {
	held := map[*Writer]Cursor{}
	l.mu.Lock()
	l.serving = slices.DeleteFunc(l.serving, func(w *Writer) bool {
		if w.stuck() {
			w.replaced.Store(true)
			l.stalled.Add(1)
			held[w] = w.cursor
		}
		return held[w] != nil
	})
	// The runtime changes GOMAXPROCS with the CPU limit of a container.
	l.limit = max(runtime.GOMAXPROCS(0), several*len(held))
	for l.staffLocked() {
	}
	if l.ticking = len(l.serving) > 0; l.ticking {
		l.tasks.After(Tick, l.monitor)
	}
	l.mu.Unlock()
	for w, c := range held {
		c.Stalled(w)
	}
}
