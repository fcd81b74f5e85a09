package schedule

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/internal/tasks"
)

// ledger records which cursors were served.
type ledger struct {
	mu      sync.Mutex
	served  []string
	stalled []string
}

func (l *ledger) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.served)
}

func (l *ledger) note(list *[]string, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*list = append(*list, name)
}

func drain(w *Writer) {
	for w.Next() {
		w.Write()
	}
}

// A cursor has a number of writes to make, each of which takes d.
type cursor struct {
	Place
	name   string
	writes int
	d      time.Duration
	log    *ledger
}

func (c *cursor) Serve(w *Writer) (more bool) {
	w.Begin()
	time.Sleep(c.d)
	w.End()
	c.log.note(&c.log.served, c.name)
	c.writes--
	return c.writes > 0
}

func (c *cursor) Stalled(*Writer) { c.log.note(&c.log.stalled, c.name) }

// open returns a line with the given number of writers, and a function that waits for it to end.
func open(t *testing.T, writers int) (l *Line, ended func()) {
	var all tasks.Tasks
	before := runtime.GOMAXPROCS(writers)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	l = NewLine(&all)
	return l, func() {
		synctest.Wait()
		time.Sleep(time.Hour)
		if synctest.Wait(); !all.None() || l.Len() != 0 || l.Stalled() != 0 || serving(l) != 0 {
			t.Errorf("%d wait, %d serve, %d are stalled", l.Len(), serving(l), l.Stalled())
		}
	}
}

func serving(l *Line) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.serving)
}

// TestCursorsTakeTurns: a cursor with more to write goes to the end of the line.
func TestCursorsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ended := open(t, 1)
		log := new(ledger)
		for _, name := range []string{"a", "b", "c"} {
			l.Put(&cursor{name: name, writes: 2, log: log})
		}
		if synctest.Wait(); len(log.all()) > 0 || l.Len() != 3 {
			t.Errorf("before Open %v were served, %d wait", log.all(), l.Len())
		}
		l.Open(drain)
		<-l.Begun
		l.Open(nil) // does nothing
		ended()
		if want := []string{"a", "b", "c", "a", "b", "c"}; !slices.Equal(log.all(), want) {
			t.Errorf("served %v, want %v", log.all(), want)
		}
	})
}

// TestAStalledWriterIsReplaced: a write that takes long delays no other cursor. Its writer goes
// on with that cursor alone.
func TestAStalledWriterIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ended := open(t, 1)
		log := new(ledger)
		l.Open(drain)
		l.Put(&cursor{name: "slow", writes: 3, d: time.Second, log: log})
		synctest.Wait()
		l.Put(&cursor{name: "fast", writes: 2, log: log})
		time.Sleep(3 * Tick)
		synctest.Wait()
		if want := []string{"fast", "fast"}; !slices.Equal(log.all(), want) || l.Stalled() != 1 {
			t.Errorf("during a write of one second %v were served, %d are stalled", log.all(), l.Stalled())
		}
		ended()
		if len(log.stalled) != 1 || len(log.all()) != 5 {
			t.Errorf("stalled: %v, served: %v", log.stalled, log.all())
		}
	})
}

// TestNoWriteStallsBeforeATick: the writer is not replaced during many short writes in a row,
// nor for time that passes between two writes.
func TestNoWriteStallsBeforeATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ended := open(t, 1)
		log := new(ledger)
		l.Open(drain)
		l.Put(&cursor{name: "short", writes: 20, d: 3 * Tick / 5, log: log})
		l.Put(&busy{cursor{name: "busy", writes: 2, d: 3 * Tick, log: log}})
		ended()
		if len(log.stalled) > 0 || len(log.all()) != 22 {
			t.Errorf("stalled: %v, served: %v", log.stalled, log.all())
		}
	})
}

// A busy cursor spends its time outside of a write.
type busy struct{ cursor }

func (b *busy) Serve(w *Writer) (more bool) {
	w.Begin()
	w.End()
	time.Sleep(b.d)
	b.log.note(&b.log.served, b.name)
	b.writes--
	return b.writes > 0
}

// TestManyStallAtOnce: when many peers stop at once, they must not
// each hold up the line for a tick.
func TestManyStallAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stuck = 64
		l, ended := open(t, 2)
		log := new(ledger)
		for range stuck {
			l.Put(&cursor{name: "stuck", writes: 1, d: time.Minute, log: log})
		}
		l.Put(&cursor{name: "behind", writes: 1, log: log})
		start := time.Now()
		l.Open(drain)
		for len(log.all()) == 0 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		if took := time.Since(start); took > 6*Tick { // one after another would take 32 ticks
			t.Errorf("behind %d stuck cursors it takes %v", stuck, took)
		}
		ended()
	})
}

// TestSeveralReplaceOneForATick: several writers replace a stalled one, but only for a tick.
// Then the number of writers is back to the limit, although more cursors stand in line.
func TestSeveralReplaceOneForATick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ended := open(t, 1)
		log := new(ledger)
		l.Put(&cursor{name: "stuck", writes: 1, d: time.Minute, log: log})
		for range 10 {
			l.Put(&cursor{writes: 1000, d: Tick / 5, log: log})
		}
		l.Open(drain)
		most := 0
		for range 10 {
			time.Sleep(Tick / 2)
			synctest.Wait()
			most = max(most, serving(l))
		}
		if now := serving(l); most != several || now != 1 || l.Len() == 0 {
			t.Errorf("%d wrote at once, then %d, and %d stand in line; want %d, 1 and at least one", most, now, l.Len(), several)
		}
		ended()
	})
}

// TestInlineOnlyWhenIdle: the caller writes inline only if the line is open and idle.
func TestInlineOnlyWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ended := open(t, 1)
		log := new(ledger)
		c := &cursor{name: "a", writes: 1, log: log}
		time.Sleep(InlineCredit)
		if l.Inline(c) != nil {
			t.Error("inline before Open")
		}
		l.Open(drain)
		synctest.Wait()
		time.Sleep(InlineCredit)
		w := l.Inline(c)
		if w == nil {
			t.Fatal("not inline in an idle line")
		}
		if l.Inline(&cursor{name: "b", writes: 1, log: log}) != nil {
			t.Error("inline beside another write")
		}
		w.Done(false)
		ended()
		if w = l.Inline(c); w == nil {
			t.Fatal("not inline in an idle line")
		}
		w.GoOn(func() bool { c.writes = 2; return true }) // the rest is for a goroutine
		ended()
		if want := []string{"a", "b", "a", "a"}; !slices.Equal(log.all(), want) {
			t.Errorf("served %v, want %v", log.all(), want)
		}
	})
}

// TestInlineCredit: of consecutive writes the caller makes a few inline, and then spends at
// most two thirds of its time on them. Right after a busy line it starts with credit for one.
func TestInlineCredit(t *testing.T) {
	const d = InlineCredit / 5
	synctest.Test(t, func(t *testing.T) {
		l, ended := open(t, 1)
		l.Open(drain)
		log := new(ledger)
		inline := func(pause time.Duration) (n int) {
			time.Sleep(pause)
			for n < 100 {
				w := l.Inline(&cursor{writes: 1, log: log})
				if w == nil {
					break
				}
				time.Sleep(d)
				w.Done(false)
				n++
			}
			synctest.Wait() // the goroutine makes the last one
			return n
		}
		for i, step := range []struct {
			pause time.Duration
			want  int
		}{
			{time.Hour, 11}, // 5 d of credit; each write takes d/2 more than it earns, and the last one may overdraw
			{0, 0}, {d / 4, 0}, {d / 4, 1}, {d / 2, 1}, {3 * d, 6}, {time.Hour, 11},
		} {
			if n := inline(step.pause); n != step.want {
				t.Errorf("step %d, after %v: %d inline, want %d", i, step.pause, n, step.want)
			}
		}
		time.Sleep(time.Hour)
		w := l.Inline(&cursor{writes: 1, log: log})
		time.Sleep(time.Hour) // as on a machine that was stopped
		w.Done(false)
		if n := inline(InlineCredit * 3 / 2); n == 0 {
			t.Error("one slow write costs more than all the credit")
		}
		time.Sleep(time.Hour)
		l.Put(&cursor{writes: 1, log: log})
		synctest.Wait()
		if n := inline(0); n != 1 {
			t.Errorf("right behind a busy line: %d inline, want 1", n)
		}
		ended()
	})
}

// TestWritersAreAsManyAsProcessors: more cursors than processors do not bring more writers.
func TestWritersAreAsManyAsProcessors(t *testing.T) {
	var all tasks.Tasks
	if l := NewLine(&all); l.limit != runtime.GOMAXPROCS(0) {
		t.Errorf("%d writers", l.limit)
	}
	synctest.Test(t, func(t *testing.T) {
		l, ended := open(t, 3)
		log := new(ledger)
		for range 100 {
			l.Put(&cursor{writes: 1, d: Tick / 5, log: log})
		}
		l.Open(drain)
		if serving(l) != 3 {
			t.Errorf("%d writers", serving(l))
		}
		ended()
	})
}

// TestWritersFollowGOMAXPROCS: the runtime changes GOMAXPROCS with the CPU limit of a container.
func TestWritersFollowGOMAXPROCS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, ended := open(t, 1)
		l.Open(drain)
		for range 8 {
			l.Put(&cursor{writes: 20, d: 3 * Tick / 5, log: new(ledger)})
		}
		for _, writers := range []int{1, 4} {
			runtime.GOMAXPROCS(writers)
			time.Sleep(3 * Tick)
			if synctest.Wait(); serving(l) != writers {
				t.Errorf("%d writers, want %d", serving(l), writers)
			}
		}
		ended()
	})
}
