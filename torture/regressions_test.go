package torture

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestHandlerOfAStuckWriteIsOwedItsDel: a handler whose write was stuck when its
// connection was replaced, and was closed for that, does not remove the one that
// replaced it, however late it leaves.
func TestHandlerOfAStuckWriteIsOwedItsDel(t *testing.T) {
	for _, k := range []kind{plain, upgraded} {
		for _, after := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 30 * time.Second} {
			t.Run(k.String()+after.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					old := &late{}
					r.leave = old.leave
					r.size = 200
					r.connect("alice", k) // reads nothing
					r.push(1, "alice", 1000)
					synctest.Wait()                    // its write is stuck
					time.Sleep(500 * time.Millisecond) // between two beats
					r.size = 64 << 10
					r.reader("alice", k)
					time.Sleep(after)
					old.letGo(0)
					synctest.Wait()
					if err := r.deliver(1, "alice", 50); err != nil {
						t.Errorf("Deliver after the old handler has left: %v", err)
					}
					old.letGo(-1)
					r.done(5 * time.Second)
				})
			})
		}
	}
}

// TestDelAfterHandlersHaveEnded: a Del that no handler can have called removes the
// present connection.
func TestDelAfterHandlersHaveEnded(t *testing.T) {
	for _, k := range []kind{plain, upgraded} {
		t.Run(k.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				u := r.reader("a", k)
				u.Conn.Close() // its handler ends, and Del with it
				synctest.Wait()
				if n := r.conns.Len(); n != 0 {
					t.Fatalf("%d are connected", n)
				}
				time.Sleep(30 * time.Second) // long after
				r.reader("a", raw)
				if !r.conns.Del("a") {
					t.Error("Del of the present connection returns false, though no earlier handler runs")
				}
				r.done(time.Second)
			})
		})
	}
}

// TestOneDelIsSparedAHandler: that another handler of the same id has come and
// gone does not give one a second Del.
func TestOneDelIsSparedAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		old := &late{}
		r.leave = func(id string) { old.leave(id) }
		r.reader("a", upgraded)
		second := r.reader("a", upgraded) // takes over; the first handler is held before its Del
		synctest.Wait()
		if r.conns.Del("a") { // taken for the first handler's
			t.Fatal("the first handler's Del was not spared")
		}
		old.mu.Lock()
		old.open = true // the second handler is not held
		old.mu.Unlock()
		second.Conn.Close() // its own Del removes it
		synctest.Wait()
		if n := r.conns.Len(); n != 0 {
			t.Fatalf("%d are connected", n)
		}
		r.reader("a", raw)
		if !r.conns.Del("a") {
			t.Error("Del returns false: the first handler, of whom one Del has been spared, is spared another")
		}
		old.letGo(-1)
		r.done(time.Second)
	})
}

// TestWriteThatReturnsLate: what the system took is not reported because the
// goroutine that wrote it had to wait for a processor.
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

// TestOldHandlerLeavesDuringShutdown: its Del does not cut short what Shutdown
// drains.
func TestOldHandlerLeavesDuringShutdown(t *testing.T) {
	for _, k := range kinds[1:] {
		t.Run(k.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				old := &late{}
				r.leave = old.leave
				r.reader("a", k) // and its handler stays
				r.size = 200
				u := r.connect("a", k) // reads nothing yet
				for range 10 {
					r.push(1, "a", 100)
				}
				r.wg.Go(func() {
					time.Sleep(500 * time.Millisecond) // Shutdown has begun
					old.letGo(-1)
					time.Sleep(500 * time.Millisecond)
					u.err = u.Run(u.ledger)
				})
				time.Sleep(100 * time.Millisecond)
				u.reading = true
				if s, err := r.done(5 * time.Second); err != nil || s.Undelivered != 0 {
					t.Errorf("Shutdown: %v; %+v", err, s)
				}
			})
		})
	}
}

// TestGivenUpAfterProgress: of many writes the last one is stuck for good, which
// says nothing of those before.
func TestGivenUpAfterProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, gcpool.WithWriteTimeout(time.Second))
		u := r.connect("a", raw)
		first, stuck, writes := make(chan struct{}), make(chan struct{}), 0
		u.server.OnWrite = func(p []byte) (int, error) {
			if writes++; writes == 1 {
				<-first // the others gather in one chunk
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

// TestDelOfTheNextHandlerIsSpared: that the application has removed an earlier
// connection does not use up what a later handler is owed.
func TestDelOfTheNextHandlerIsSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.reader("a", upgraded)
		if !r.conns.Del("a") {
			t.Fatal("Del by the application")
		}
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		r.reader("a", plain)
		synctest.Wait()
		r.reader("a", raw) // takes over; the handler of the one before ends, and calls Del
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		if n := r.conns.Len(); n != 1 {
			t.Errorf("%d are connected: the new connection was thrown out by the old handler's Del", n)
		}
		r.done(time.Second)
	})
}
