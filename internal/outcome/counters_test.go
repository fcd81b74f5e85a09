package outcome

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestBoundsOfLatency: each bound belongs to the element below it,
// and the last element has no bound.
func TestBoundsOfLatency(t *testing.T) {
	for d, want := range map[time.Duration]int{
		0:                   0,
		fastest:             0,
		fastest + 1:         1,
		2 * fastest:         1,
		2*fastest + 1:       2,
		fastest << 14:       14,
		fastest<<14 + 1:     15,
		1000 * time.Hour:    15,
		3 * time.Nanosecond: 0,
	} {
		var c Counters
		c.Observe(d)
		if s := c.Read(); s.Latency[want] != 1 || s.LatencySum != d {
			t.Errorf("%v: %v, want element %d", d, s.Latency, want)
		}
	}
}

// TestNoMessageHasAnOutcomeBeforeItIsAccepted races Read with messages that are accepted and
// written. Read must never see more written than accepted.
func TestNoMessageHasAnOutcomeBeforeItIsAccepted(t *testing.T) {
	var c Counters
	var stop atomic.Bool
	var writers sync.WaitGroup
	for range 2 {
		writers.Go(func() {
			for !stop.Load() {
				c.Accepted.Add(1, 10)
				c.Written.Add(1, 10)
			}
		})
	}
	for range 20_000 {
		if s := c.Read(); s.Waiting < 0 || s.WaitingBytes < 0 {
			t.Errorf("%d messages wait, of %d bytes", s.Waiting, s.WaitingBytes)
			break
		}
	}
	stop.Store(true)
	writers.Wait()
}
