package torture

import (
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestFault08OldWriteFailsAfterTheReplacement: only the message that was being written to the
// old connection is lost, and it is reported. The new connection stays and gets the rest.
func TestFault08OldWriteFailsAfterTheReplacement(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		r := newRig(t)
		u := r.connect("a", raw)
		stuck := make(chan struct{})
		part := rnd.IntN(40)
		u.server.OnWrite = func(p []byte) (int, error) {
			<-stuck
			n, _ := u.server.Take(p[:part])
			return n, errors.New("reset")
		}
		for range 1 + rnd.IntN(5) {
			r.push(1, "a", 40+rnd.IntN(100))
			synctest.Wait()
		}
		next := r.reader("a", pick(rnd))
		for range rnd.IntN(5) {
			r.push(1, "a", 40+rnd.IntN(100))
		}
		time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond)
		close(stuck)
		synctest.Wait()
		if err := r.deliver(1, "a", 40); err != nil {
			t.Errorf("Deliver: %v", err)
		}
		if s := r.stats(); s.Undelivered > 1 || s.Connections != 1 || s.Waiting != 0 || u.server.Written() > 0 && s.Undelivered == 0 {
			t.Errorf("after the old write took %d bytes: %+v", u.server.Written(), s)
		}
		r.done(time.Second)
		if next.kind != raw && next.Status != 1001 {
			t.Errorf("the new connection ended with %d", next.Status)
		}
	})
}

// TestFault23DeadlineThatFailsOrIsIgnored: such a connection harms only its own id, for
// at most the write timeout, and Shutdown returns.
func TestFault23DeadlineThatFailsOrIsIgnored(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		timeout := time.Duration(1+rnd.IntN(5)) * time.Second
		r := newRig(t, gcpool.WithWriteTimeout(timeout))
		u := r.connect("a", raw)
		stuck := make(chan struct{})
		if rnd.IntN(2) == 0 {
			u.server.OnDeadline = func(time.Time) error { return errors.New("no deadlines here") }
		}
		part, deaf := rnd.IntN(30), rnd.IntN(2) == 0
		u.server.OnWrite = func(p []byte) (int, error) {
			n, _ := u.server.Take(p[:part])
			<-stuck
			return n, errors.New("at last")
		}
		free := func() { close(stuck) }
		if !deaf { // Close ends the write
			u.server.OnClose = func() error { free(); return u.server.Shut() }
		}
		r.reader("b", pick(rnd))
		r.push(1, "a", 50)
		for range rnd.IntN(3) {
			r.push(1, "a", 50)
		}
		early := rnd.IntN(2) == 0 // Shutdown comes before the write timeout
		start := time.Now()
		if err := r.deliver(1, "b", 5000); err != nil {
			t.Error(err)
		}
		within(t, "another peer was served", start, tick)
		if !early {
			time.Sleep(timeout + 2500*time.Millisecond)
			synctest.Wait()
			if s := r.stats(); s.Connections != 1 || s.Waiting != 0 || s.Undelivered == 0 {
				t.Errorf("after the timeout: %+v", s)
			}
		}
		r.after = func() {
			if deaf {
				free()
			}
			u.server.Shut()
		}
		if s, err := r.doneSoon(rnd); early && (err == nil || s.Closed == 0) {
			t.Errorf("Shutdown: %v, %+v", err, s)
		}
	})
}

// TestFault24CloseThatBlocksOrPanics: a Close that blocks or panics delays neither the
// caller of Del, nor the next connection, nor Shutdown.
func TestFault24CloseThatBlocksOrPanics(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		r := newRig(t)
		u := r.reader("a", raw)
		stuck := make(chan struct{})
		blocks := rnd.IntN(2) == 0
		u.server.OnClose = func() error {
			if blocks {
				<-stuck
			}
			panic("close")
		}
		if rnd.IntN(3) == 0 {
			u.server.OnWrite = func(p []byte) (int, error) { panic("write") }
		}
		if rnd.IntN(3) == 0 {
			u.server.OnDeadline = func(time.Time) error { panic("deadline") }
		}
		for range rnd.IntN(3) {
			r.push(1, "a", 100)
		}
		start := time.Now()
		switch rnd.IntN(4) {
		case 0:
			r.conns.Del("a")
		case 1:
			r.conns.Get("a", func(net.Conn) error { return errors.New("away with it") })
		case 2:
			r.reader("a", pick(rnd))
			if err := r.deliver(1, "a", 100); err != nil {
				t.Errorf("Deliver to the next: %v", err)
			}
		}
		r.reader("b", pick(rnd))
		if err := r.deliver(1, "b", 100); err != nil {
			t.Errorf("Deliver to another: %v", err)
		}
		within(t, "all that", start, tick)
		r.after = func() {
			close(stuck)
			u.server.Shut()
		}
		if s, _ := r.doneSoon(rnd); s.Connections != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestWriteThatReturnsLate: a write has succeeded, but returns late because its goroutine waits
// for a processor. Its message must not be reported.
func TestWriteThatReturnsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.connect("a", raw)
		u.server.OnWrite = func(p []byte) (int, error) {
			n, err := u.server.Take(p)
			time.Sleep(300 * time.Millisecond)
			return n, err
		}
		r.run(u)
		r.push(1, "a", 100)
		synctest.Wait()
		r.reader("a", raw)
		time.Sleep(time.Second)
		r.done(time.Second)
	})
}

// TestGivenUpAfterProgress: of several writes, the last is stuck
// forever. The earlier ones still count as written.
func TestGivenUpAfterProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, gcpool.WithWriteTimeout(time.Second))
		u := r.connect("a", raw)
		first, stuck, writes := make(chan struct{}), make(chan struct{}), 0
		u.server.OnWrite = func(p []byte) (int, error) {
			if writes++; writes == 1 {
				<-first // the other messages gather in one chunk meanwhile
			} else if writes == 4 {
				<-stuck
			}
			return u.server.Take(p)
		}
		r.run(u)
		for range 6 {
			r.push(1, "a", 50)
		}
		synctest.Wait()
		close(first)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		r.after = func() { close(stuck) }
		if s, _ := r.done(time.Second); s.Written != 3 || s.Slow != 3 {
			t.Errorf("three writes were whole: %+v", s)
		}
	})
}
