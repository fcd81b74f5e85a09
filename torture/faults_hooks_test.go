package torture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/fault"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// bang ends a hook: it panics, ends its goroutine, or returns. It counts its panics.
func bang(rnd *rand.Rand, panics *int) {
	switch rnd.IntN(4) {
	case 0:
		*panics++
		panic("a hook")
	case 1:
		*panics++
		var none *ledger.Ledger
		none.Samples() // nil
	case 2:
		runtime.Goexit()
	}
}

// TestFault19HooksThatPanic: every report is made once and in order, and each panic is logged.
// Delivery is not affected.
func TestFault19HooksThatPanic(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		var r *rig
		log := new(record)
		panics, present := 0, make(map[string]bool)
		hook := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		r = newRig(t, gcpool.WithLogger(slog.New(log.handler())),
			gcpool.WithUndelivered(func(u gcpool.Undelivered) {
				r.ledger.Undelivered(u)
				bang(hook, &panics)
			}),
			gcpool.WithPresence(func(_, id string, connected bool) {
				if present[id] == connected {
					t.Errorf("%q came or went twice", id)
				}
				present[id] = connected
				bang(hook, &panics)
			}))
		r.reader("reads", pick(rnd))
		for i := range 3 + rnd.IntN(10) {
			r.push(1, "away", 100)
			if rnd.IntN(2) == 0 {
				r.reader(fmt.Sprint(i), pick(rnd))
			}
			r.conns.Del(fmt.Sprint(rnd.IntN(10)))
			if err := r.deliver(1, "reads", 100); err != nil {
				t.Errorf("Deliver: %v", err)
			}
		}
		s, err := r.done(time.Minute)
		if n := len(log.ids["gcpool: hook panicked"]); err != nil || n != panics || s.NotConnected != s.Undelivered {
			t.Errorf("Shutdown: %v; %d of %d panics were logged: %+v", err, n, panics, s)
		}
		for id, connected := range present {
			if connected {
				t.Errorf("the hook was not called for %q, which has gone", id)
			}
		}
	})
}

// TestFault19HooksThatBlock: when the queue of reports is full, Add waits until its context
// ends. No other call waits. Shutdown waits for the hook only until its own context ends, and
// the remaining reports are made when the hook continues.
func TestFault19HooksThatBlock(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		var r *rig
		free := make(chan struct{})
		buffer := 1 + rnd.IntN(20)
		r = newRig(t, gcpool.WithBuffer(buffer), gcpool.WithUndelivered(func(u gcpool.Undelivered) {
			<-free
			r.ledger.Undelivered(u)
		}))
		r.reader("reads", pick(rnd))
		start := time.Now()
		for range 1 + buffer { // one in the hook, the rest waiting behind it
			r.push(1, "away", 50)
			synctest.Wait()
			if err := r.deliver(1, "reads", 50); err != nil {
				t.Errorf("Deliver while the hook blocks: %v", err)
			}
		}
		r.push(1, "away", 50) // one over the limit, because Add checks before it accepts
		within(t, "all that was accepted", start, tick)
		r.refused("away")
		r.refused("reads")
		waiting := uint64(buffer + 2)
		if s := r.stats(); s.Accepted-s.Written != waiting || s.Undelivered != 1 || s.Waiting != buffer+1 {
			t.Errorf("while the hook blocks with a buffer of %d: %+v", buffer, s)
		}
		late := rnd.IntN(2) == 0 // the hook continues only after Shutdown
		limit := time.Duration(1+rnd.IntN(1000)) * time.Millisecond
		start = time.Now()
		if late {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			if err := r.pool.Shutdown(ctx); err != context.DeadlineExceeded {
				t.Errorf("Shutdown while the hook blocks: %v", err)
			}
			cancel()
			within(t, "Shutdown", start, limit+300*time.Millisecond)
		}
		close(free)
		synctest.Wait()
		if s, err := r.done(limit); (err != nil) != late || s.NotConnected != waiting || s.Undelivered != waiting {
			t.Errorf("Shutdown: %v, of %d reports: %+v", err, waiting, s)
		}
	})
}

// refused checks that a push waits for the hook until its context ends, and that other
// calls do not wait.
func (r *rig) refused(id string) {
	r.t.Helper()
	start := time.Now()
	r.conns.Len()
	r.conns.Del("nobody")
	r.stats()
	if err := r.conns.Get("reads", func(net.Conn) error { return nil }); err != nil {
		r.t.Errorf("Get while the hook blocks: %v", err)
	}
	within(r.t, "what does not push", start, 0)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := r.add(ctx, 1, id, 50); err != context.DeadlineExceeded {
		r.t.Errorf("Add for %s while the hook blocks: %v", id, err)
	}
	if took := time.Since(start); took != time.Second {
		r.t.Errorf("Add for %s waited %v, want 1 s", id, took)
	}
}

// TestFault19HooksThatCallThePool: a hook may call every method, for
// its own id and for other ids, and push with a deadline. No call may
// hang, and the messages that the hook pushes have their outcomes.
func TestFault19HooksThatCallThePool(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		var r *rig
		hook := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		calls := 0
		r = newRig(t, gcpool.WithBuffer(1+rnd.IntN(5)), gcpool.WithMailbox(time.Duration(rnd.IntN(2))*time.Hour, 1<<10),
			gcpool.WithUndelivered(func(u gcpool.Undelivered) {
				m, _ := ledger.Decode(u.Data)
				r.ledger.Undelivered(u)
				if calls++; m.Producer != hooked { // a hook that answered its own pushes would never end
					r.fromHook(hook, u.ID)
				}
			}),
			gcpool.WithPresence(func(_, id string, connected bool) {
				calls++
				err := r.conns.Get(id, func(net.Conn) error { return nil })
				if err != nil && !errors.Is(err, gcpool.ErrNotConnected) && !errors.Is(err, gcpool.ErrClosed) {
					t.Errorf("Get: %v", err)
				}
				if id != "hook's" { // that would never end either
					r.fromHook(hook, id)
				}
			}))
		r.reader("reads", pick(rnd))
		for range 3 + rnd.IntN(10) {
			id := fmt.Sprint(rnd.IntN(3))
			if rnd.IntN(2) == 0 {
				r.reader(id, pick(rnd))
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			if err := r.add(ctx, 1, id, 100); err != nil {
				t.Errorf("Add: %v", err)
			}
			cancel()
			if rnd.IntN(2) == 0 {
				r.conns.Del(id)
			}
		}
		start := time.Now()
		if _, err := r.done(time.Minute); err != nil || calls == 0 {
			t.Errorf("Shutdown after %d calls of hooks: %v", calls, err)
		}
		within(t, "Shutdown", start, 10*time.Second)
	})
}

// hooked is the producer of the messages that hooks push.
const hooked = 99

// fromHook calls the methods that a hook may call.
func (r *rig) fromHook(rnd *rand.Rand, id string) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	for _, to := range []string{id, "reads", "away"} {
		switch s := r.ledger.Stream(hooked, to); rnd.IntN(6) {
		case 0:
			s.Add(60, func(data []byte) error { return r.stream.AddContext(ctx, to, data) })
		case 1:
			s.Deliver(60, func(data []byte) error { return r.stream.Deliver(ctx, to, data) })
		case 2:
			r.conns.Del("2")
		case 3:
			r.pool.Register(fmt.Sprint("other ", rnd.IntN(3)))
			r.pool.Start()
		case 4:
			s, c := fault.Pipe(1 << 10) // no one reads from it
			if r.conns.Add("hook's", s) != nil {
				s.Close()
			}
			c.Close()
		default:
			r.conns.Len()
			r.pool.Stats()
			for _, conn := range r.conns.All() {
				r.conns.DelConn("1", conn)
			}
		}
	}
}
