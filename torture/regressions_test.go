package torture

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestHandlerOfAStuckWriteRemovesNoOther: one whose write was stuck when its connection
// was replaced, and was closed for that, leaves the next connection alone, however late
// it ends.
func TestHandlerOfAStuckWriteRemovesNoOther(t *testing.T) {
	for _, k := range kinds[1:] {
		for _, after := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 30 * time.Second, time.Hour} {
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

// TestDelAfterHandlersHaveEnded: a Del that no handler calls removes the present
// connection at once.
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
				r.reader("a", raw)
				if !r.conns.Del("a") {
					t.Error("Del of the present connection returns false, though no earlier handler runs")
				}
				r.done(time.Second)
			})
		})
	}
}

// TestDelFromOutsideWhileAnOldHandlerTidiesUp removes the present connection, and the Dels
// of old handlers that come afterwards remove nothing.
func TestDelFromOutsideWhileAnOldHandlerTidiesUp(t *testing.T) {
	for _, k := range kinds[1:] {
		t.Run(k.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				old := &late{}
				r.leave = old.leave
				r.reader("a", k)
				r.reader("a", k) // takes over; the first handler is held before its Del
				synctest.Wait()
				if !r.conns.Del("a") || r.conns.Connected("a") != 0 {
					t.Error("a Del from outside does not remove the second connection")
				}
				time.Sleep(time.Minute)
				r.reader("a", raw)
				for range 2 {
					old.letGo(0)
					synctest.Wait()
					if err := r.deliver(1, "a", 50); err != nil {
						t.Errorf("Deliver to the third connection after an old handler's Del: %v", err)
					}
				}
				if !r.conns.Del("a") {
					t.Error("a Del from outside does not remove the third connection")
				}
				r.done(time.Second)
			})
		})
	}
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

// TestHandlerAfterADelRemovesNoOther: that the application has removed an earlier
// connection changes nothing for the handlers of later ones.
func TestHandlerAfterADelRemovesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.reader("a", upgraded)
		if !r.conns.Del("a") {
			t.Fatal("Del by the application")
		}
		synctest.Wait()
		r.reader("a", plain)
		synctest.Wait()
		r.reader("a", raw) // takes over; the handler of the one before ends, and calls Del
		synctest.Wait()
		if n := r.conns.Connected("a"); n != 1 {
			t.Errorf("%d are connected: the old handler's Del removed the new connection", n)
		}
		r.done(time.Second)
	})
}
