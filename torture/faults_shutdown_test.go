package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestFault18ShutdownWithStalledPeers: one peer in ten reads nothing. The other peers
// get every message and a close frame. The messages of the stalled peers are reported,
// and Shutdown ends in time.
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

// TestOldHandlerLeavesDuringShutdown: an old handler's Del during Shutdown does not
// stop the draining of the present connection.
func TestOldHandlerLeavesDuringShutdown(t *testing.T) {
	for _, k := range kinds[1:] {
		t.Run(k.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				old := &late{}
				r.leave = old.leave
				r.reader("a", k) // its handler stays
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
