package torture

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestFault22ClockLeaps: however far the clock leaps, peers that answer stay connected,
// and messages expire when they should and not earlier.
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
