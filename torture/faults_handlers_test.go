package torture

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// late holds handlers back just before their deferred Del.
type late struct {
	mu   sync.Mutex
	held []chan struct{}
	open bool
}

func (l *late) leave(string) {
	l.mu.Lock()
	if l.open {
		l.mu.Unlock()
		return
	}
	free := make(chan struct{})
	l.held = append(l.held, free)
	l.mu.Unlock()
	<-free
}

// letGo ends the handler at index i of those held. If i is negative, it ends all of
// them, and holds no more.
func (l *late) letGo(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i < 0 {
		for _, free := range l.held {
			close(free)
		}
		l.held, l.open = nil, true
	} else if i < len(l.held) {
		close(l.held[i])
		l.held = append(l.held[:i], l.held[i+1:]...)
	}
}

// TestFault06ReconnectWithOldHandlerEndingLate: old handlers may end at any time, and may call
// Del as in the original README. No message is lost and no new connection is removed by them.
// Only an administrator's Del or Kick removes one, and it does so at once.
func TestFault06ReconnectWithOldHandlerEndingLate(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		r := newRig(t)
		old := &late{}
		r.leave = old.leave
		if rnd.IntN(2) == 0 {
			r.leave = r.twice(old)
		}
		for i := range 2 + rnd.IntN(8) {
			if i > 0 && rnd.IntN(4) == 0 {
				r.remove(rnd, "alice")
			}
			r.reader("alice", kinds[1+rnd.IntN(2)])
			for range rnd.IntN(4) {
				switch rnd.IntN(5) {
				case 0:
					time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
				case 1:
					time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
				default:
					old.letGo(rnd.IntN(3))
				}
				synctest.Wait()
				if err := r.deliver(1, "alice", 40+rnd.IntN(500)); err != nil {
					t.Fatalf("Deliver after reconnect %d: %v", i, err)
				}
			}
		}
		synctest.Wait()
		old.letGo(-1)
		synctest.Wait()
		if err := r.deliver(1, "alice", 50); err != nil {
			t.Errorf("Deliver when all old handlers have left: %v", err)
		}
		s, err := r.done(5 * time.Second)
		if got := r.ledger.Totals(); err != nil || s.Undelivered != 0 || got.Received != got.Accepted {
			t.Errorf("Shutdown: %v; %+v of %+v", err, got, s)
		}
	})
}

// twice wraps late.leave: before the handler calls Del, a goroutine of the handler
// calls it too.
func (r *rig) twice(l *late) func(id string) {
	return func(id string) {
		l.leave(id)
		done := make(chan bool)
		go func() {
			defer close(done)
			r.conns.Del(id)
		}()
		<-done
	}
}

// remove calls Del or Kick, as an administrator would.
func (r *rig) remove(rnd *rand.Rand, id string) {
	r.t.Helper()
	if rnd.IntN(2) == 0 {
		if !r.conns.Del(id) {
			r.t.Error("an administrator's Del removes nothing")
		}
	} else if n, err := r.conns.Kick(id, 4999, "kicked"); n != 1 || err != nil {
		r.t.Errorf("an administrator's Kick: %d, %v", n, err)
	}
	if r.conns.Connected(id) != 0 {
		r.t.Error("still connected")
	}
}

// TestFault06OldHandlerEndsMuchLater: it does not matter how late an old handler ends,
// or how often it calls Del.
func TestFault06OldHandlerEndsMuchLater(t *testing.T) {
	for _, k := range kinds[1:] {
		for _, after := range []time.Duration{10 * time.Second, 10 * time.Minute, 24 * time.Hour} {
			t.Run(fmt.Sprint(k, " ", after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					old := &late{}
					r.leave = r.twice(old)
					r.reader("alice", k)
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

// TestHandlerOfAStuckWriteRemovesNoOther: a connection was replaced while its write was stuck, and
// was closed because of that. Its handler's Del, however late, must not remove the next connection.
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
					synctest.Wait()                    // the write is stuck
					time.Sleep(500 * time.Millisecond) // wait until between two beats
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

// TestDelAfterHandlersHaveEnded: when no earlier handler is running, a Del from outside removes
// the present connection at once.
func TestDelAfterHandlersHaveEnded(t *testing.T) {
	for _, k := range []kind{plain, upgraded} {
		t.Run(k.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				u := r.reader("a", k)
				u.Conn.Close() // the handler ends, and calls Del
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

// TestDelFromOutsideWhileAnOldHandlerTidiesUp: a Del from outside removes the present
// connection. The later Dels of old handlers remove nothing.
func TestDelFromOutsideWhileAnOldHandlerTidiesUp(t *testing.T) {
	for _, k := range kinds[1:] {
		t.Run(k.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				old := &late{}
				r.leave = old.leave
				r.reader("a", k)
				r.reader("a", k) // takes over: the first handler is held before its Del
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

// TestHandlerAfterADelRemovesNoOther: the application has removed an earlier connection with
// Del. Handlers of later connections still remove only their own.
func TestHandlerAfterADelRemovesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.reader("a", upgraded)
		if !r.conns.Del("a") {
			t.Fatal("Del by the application removes nothing")
		}
		synctest.Wait()
		r.reader("a", plain)
		synctest.Wait()
		r.reader("a", raw) // takes over: the earlier handler ends, and calls Del
		synctest.Wait()
		if n := r.conns.Connected("a"); n != 1 {
			t.Errorf("%d are connected: the old handler's Del removed the new connection", n)
		}
		r.done(time.Second)
	})
}
