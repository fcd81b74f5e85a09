package cursor

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// TestWriteThatLandsAsItsTimerFires: the timer of a write fires just after that write has
// ended. It must neither time out the writer's next write nor close the connection.
func TestWriteThatLandsAsItsTimerFires(t *testing.T) {
	b, conn := newID(begun(backlog.Config{WriteTimeout: time.Minute, Newline: true})), &gate{free: make(chan bool)}
	b.attach(NewConnection(conn, false))
	watched := func() (w *flight, timer *time.Timer) {
		for timer == nil {
			time.Sleep(time.Millisecond)
			b.Lock()
			if w = b.flight; w != nil {
				timer = w.timer
			}
			b.Unlock()
		}
		return w, timer
	}
	b.push("x")
	w, first := watched()
	b.push("x")
	conn.free <- true
	second := first
	for second == first {
		var same *flight
		if same, second = watched(); same != w {
			t.Fatal("another writer made the second write")
		}
	}
	b.judge(w, &first, 0)
	if b.present() == nil {
		t.Error("the second write was timed out by the first one's timer")
	}
	conn.free <- true
	for b.Lock(); b.flight != nil; b.Lock() {
		b.Unlock()
		time.Sleep(time.Millisecond)
	}
	b.Unlock()
	b.judge(w, &second, 0)
	if b.present() == nil {
		t.Error("a write that has landed was timed out")
	}
}

// TestWhoComesBackDoesNotWaitASecond: after a removal, a write to a WebSocket may go on for a
// second. When the id connects again, that time is cut short.
func TestWhoComesBackDoesNotWaitASecond(t *testing.T) {
	b := newBench(t, backlog.Config{})
	link, _, _ := upgraded(t)
	b.attachLink(link)
	b.push("1")
	f := b.take()
	b.remove(outcome.ErrDeleted)
	for range 3 {
		b.judge(f, &f.timer, 0)
	}
	life := func() life {
		b.Lock()
		defer b.Unlock()
		return link.life
	}
	if life() != closing {
		t.Error("the write was given less than a second, although no new connection waits")
	}
	b.attach()
	b.Lock()
	f.since, f.taken = time.Now().Add(-takeoverPatience), link.Progress()
	b.Unlock()
	if b.judge(f, &f.timer, 0); life() != closed {
		t.Error("the new connection waits for the full second")
	}
	b.whole(f)
}

// A stuck connection blocks in Close until the test frees it.
type stuck struct {
	sleepy
	closing, free chan bool
}

func (s *stuck) Close() error { s.closing <- true; <-s.free; return nil }

// TestStuckCloseHoldsNoLock: when a write times out and the
// connection's Close blocks, the lock must be free.
func TestStuckCloseHoldsNoLock(t *testing.T) {
	b, conn := newBench(t, backlog.Config{}), &stuck{closing: make(chan bool), free: make(chan bool)}
	b.attachLink(NewConnection(conn, false))
	b.push("1")
	f := b.take()
	b.Shared.WriteTimeout = 0
	judged := make(chan bool)
	go func() {
		b.judge(f, &f.timer, 0)
		close(judged)
	}()
	<-conn.closing
	select {
	case <-judged:
	case <-time.After(20 * time.Second):
		t.Error("the lock is held while the connection closes")
	}
	close(conn.free)
	<-judged
	b.whole(f)
}

// TestWriteThatIsGivenUpEarly: Shutdown's time runs out before judge has closed the connection,
// as on a busy machine. Giving up the write must close the connection, or its peer could still
// receive what has been reported as undelivered.
func TestWriteThatIsGivenUpEarly(t *testing.T) {
	b, conn := newBench(t, backlog.Config{}), &stuck{closing: make(chan bool), free: make(chan bool)}
	b.attachLink(NewConnection(conn, false))
	b.push("1")
	f := b.take()
	b.Shared.Close()
	b.Leave(true, true)
	if s := b.stats(); s.Closed != 1 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	select {
	case <-conn.closing:
	case <-time.After(20 * time.Second):
		t.Error("the connection is left open")
	}
	close(conn.free)
	if b.whole(f); b.stats().Written != 0 {
		t.Error("the message has a second outcome")
	}
}

// TestShutdownWithTimeLeftGivesNoWriteUp: a write to a closed connection has most likely ended, and
// its goroutine waits for a processor. Giving it up now would report a message that the peer has.
func TestShutdownWithTimeLeftGivesNoWriteUp(t *testing.T) {
	b := newBench(t, backlog.Config{})
	conn := b.attach()
	b.push("1")
	f := b.take()
	b.Shared.Close()
	b.conn, conn.life, conn.ending = nil, closed, &ending{outcome.ErrDeleted, frame.StatusNormal}
	f.timer = time.NewTimer(time.Hour)
	for over, waiting := range []int{1, 0} {
		if over == 1 {
			b.Shared.Cut()
		}
		if b.judge(f, &f.timer, 0); b.stats().Waiting != waiting {
			t.Errorf("over %d: %+v", over, b.stats())
		}
	}
	if b.whole(f); b.stats().Written != 0 {
		t.Error("the message has a second outcome")
	}
}

// TestTimerOfAnEarlierWrite: the timer of an earlier write fires after a removal. It must not
// close the connection, which gets a close frame when the present write has ended.
func TestTimerOfAnEarlierWrite(t *testing.T) {
	b := newBench(t, backlog.Config{})
	conn := b.attach()
	b.push("1")
	f := b.take()
	f.tries = 1 // the first grace is over
	b.conn, conn.life, conn.ending = nil, closing, &ending{outcome.ErrDeleted, frame.StatusNormal}
	earlier := time.NewTimer(time.Hour)
	f.timer = time.NewTimer(time.Hour)
	b.judge(f, &earlier, 0)
	if conn.life != closing {
		t.Error("the earlier timer has closed the connection")
	}
	if b.judge(f, &f.timer, 0); conn.life != closed {
		t.Error("the timer of the present write has not closed the connection")
	}
	b.whole(f)
}

// TestStoppedProcessTimesOutNoWrite: a write cannot progress while the process is stopped.
// Where the system does not show acknowledgements, judge must give the write more time before
// it closes the connection.
func TestStoppedProcessTimesOutNoWrite(t *testing.T) {
	for late, want := range map[time.Duration]life{0: closed, time.Hour: open} {
		b := newBench(t, backlog.Config{WriteTimeout: time.Minute})
		conn := b.attach()
		b.push("1")
		f := b.take()
		b.Lock()
		f.stall(0)
		f.since, f.timer = f.since.Add(-time.Hour), time.NewTimer(time.Hour) // the only look is the call below
		b.Unlock()
		if b.judge(f, &f.timer, late); conn.life != want {
			t.Errorf("judged %v late: %v, want %v", late, conn.life, want)
		}
		b.whole(f)
	}
}

// TestWriteIsLookedAtOften: a stalled write is checked often even
// where the system does not show acknowledgements, because only a
// late check reveals that the process was stopped, and for how long.
func TestWriteIsLookedAtOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, backlog.Config{WriteTimeout: time.Hour})
		b.attach()
		b.push("1")
		f := b.take()
		b.Lock()
		f.stall(0)
		first := f.timer
		b.Unlock()
		time.Sleep(patience)
		b.Lock()
		if f.timer == first {
			t.Errorf("no check of the write in %v", patience)
		}
		b.Unlock()
		b.whole(f)
	})
}
