package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// late holds handlers back before their deferred Del.
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

// letGo ends the i-th handler that is held, all of them and those to come if i
// is negative.
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

// TestFault06ReconnectWithOldHandlerEndingLate: with the original's handler as
// it is, whenever it ends, nothing is lost and nobody thrown out, but by an
// administrator's Del or Kick, which removes at once.
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

// twice is late's leave, with a Del by a goroutine that the handler starts before
// its own.
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

// remove does what an administrator does.
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

// TestFault06OldHandlerEndsMuchLater: nor does it matter how late, or how often it
// calls Del.
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

// TestFault08OldWriteFailsAfterTheReplacement: only what was on its way there is
// lost, and reported; the new connection gets the rest and stays.
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

// TestFault18ShutdownWithStalledPeers: one in ten reads nothing. The others get
// all and a goodbye, the stalled ones' messages are reported, in time.
func TestFault18ShutdownWithStalledPeers(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		r := newRig(t, gcpool.WithWriteTimeout(time.Minute))
		r.size = 1 << 10
		var reading []*user
		for i := range 20 {
			if id := fmt.Sprint(i); i%10 == 0 {
				r.connect(id, pick(rnd))
			} else {
				reading = append(reading, r.reader(id, pick(rnd)))
			}
		}
		for i := range 20 {
			for range 4 {
				r.push(1, fmt.Sprint(i), 300+rnd.IntN(300))
			}
		}
		limit := time.Duration(50+rnd.IntN(3000)) * time.Millisecond
		start := time.Now()
		s, err := r.done(limit)
		if err != context.DeadlineExceeded || s.Closed == 0 || s.Undelivered != s.Closed || s.Connections != 0 {
			t.Errorf("Shutdown: %v, %+v", err, s)
		}
		within(t, "Shutdown", start, limit+300*time.Millisecond)
		for _, u := range reading {
			if u.err != nil || u.kind != raw && u.Status != 1001 {
				t.Errorf("%s, %v, ended with status %d, %v", u.id, u.kind, u.Status, u.err)
			}
		}
	})
}

// TestFault22ClockLeaps: whatever time passes between two moments, peers that
// answer stay, and what is to expire does, no earlier than promised.
func TestFault22ClockLeaps(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		ttl := time.Duration(1+rnd.IntN(60)) * time.Second
		r := newRig(t, gcpool.WithMailbox(ttl, 1<<20), gcpool.WithHeartbeat(time.Duration(1+rnd.IntN(20))*time.Second))
		r.reader("p", plain)
		r.reader("u", upgraded)
		r.reader("r", raw)
		for range 1 + rnd.IntN(4) {
			expired := r.stats().Expired
			r.push(1, "away", 50)
			time.Sleep(ttl - 1)
			synctest.Wait()
			if s := r.stats(); s.Expired != expired || s.Waiting != 1 {
				t.Errorf("before its time: %+v", s)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if s := r.stats(); s.Expired != expired+1 || s.Waiting != 0 {
				t.Errorf("after its time: %+v", s)
			}
			time.Sleep(time.Duration(1) << rnd.IntN(36)) // up to a minute
			for _, id := range []string{"p", "u", "r"} {
				if err := r.deliver(1, id, 50); err != nil {
					t.Errorf("Deliver to %s: %v", id, err)
				}
			}
		}
		if s := r.stats(); s.Leaves != 0 {
			t.Errorf("a peer that answers was removed: %+v", s)
		}
		if _, err := r.done(time.Second); err != nil {
			t.Error(err)
		}
	})
}
