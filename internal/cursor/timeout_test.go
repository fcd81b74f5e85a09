package cursor

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// TestWriteThatLandsAsItsTimerFires: the timer of a write fires when that write has
// ended. It must not time out the writer's next write or close the connection.
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
			t.Fatal("another writer goes on")
		}
	}
	b.judge(w, &first, 0)
	if b.present() == nil {
		t.Error("the second write was judged by the first one's timer")
	}
	conn.free <- true
	for b.Lock(); b.flight != nil; b.Lock() {
		b.Unlock()
		time.Sleep(time.Millisecond)
	}
	b.Unlock()
	b.judge(w, &second, 0)
	if b.present() == nil {
		t.Error("a write that has landed was judged")
	}
}

// TestWhoComesBackDoesNotWaitASecond: a removed WebSocket has a second for the write under way.
// When its id connects again that time is cut.
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
		t.Error("it has less than a second, although nobody waits")
	}
	b.attach()
	b.Lock()
	f.since, f.taken = time.Now().Add(-takeoverPatience), link.Progress()
	b.Unlock()
	if b.judge(f, &f.timer, 0); life() != closed {
		t.Error("the new connection waits for as long as the old one may take")
	}
	b.whole(f)
}

// A stuck connection does not close before it is let go.
type stuck struct {
	sleepy
	closing, free chan bool
}

func (s *stuck) Close() error { s.closing <- true; <-s.free; return nil }

// TestStuckCloseHoldsNoLock: a write is timed out, and the connection's Close blocks.
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

// TestWriteThatIsGivenUpEarly: the time of Shutdown is over before judge has come to close the
// connection, as on a machine that was busy. It is closed all the same: otherwise its peer could
// still receive what has been reported.
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

// TestShutdownWithTimeLeftGivesNoWriteUp: a write to a connection that was closed has most likely
// ended, and its goroutine waits for a processor. Whoever gave it up would report what the peer has.
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

// TestTimerOfAnEarlierWrite: the timer of an earlier write fires behind a removal. It must not
// close the connection, which is to have a close frame once the present write has ended.
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
		t.Error("its own timer has not")
	}
	b.whole(f)
}

// TestStoppedProcessTimesOutNoWrite: while the process was stopped, the write could not go on. Where
// acknowledgements do not show, judge must let it run before it closes the connection.
func TestStoppedProcessTimesOutNoWrite(t *testing.T) {
	for late, want := range map[time.Duration]life{0: closed, time.Hour: open} {
		b := newBench(t, backlog.Config{WriteTimeout: time.Minute})
		conn := b.attach()
		b.push("1")
		f := b.take()
		b.Lock()
		f.stall(0)
		f.since, f.timer = f.since.Add(-time.Hour), time.NewTimer(time.Hour) // no look but the one below
		b.Unlock()
		if b.judge(f, &f.timer, late); conn.life != want {
			t.Errorf("judged %v late: %v, want %v", late, conn.life, want)
		}
		b.whole(f)
	}
}

// TestWriteIsLookedAtOften, also where acknowledgements do not show: only a look that is late tells
// that the process was stopped, and for how long.
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
			t.Errorf("nobody has looked for %v", patience)
		}
		b.Unlock()
		b.whole(f)
	})
}
