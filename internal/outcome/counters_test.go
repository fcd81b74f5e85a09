package outcome

import (
	"sync"
	"sync/atomic"
	"testing"
)

// TestNoMessageHasAnOutcomeBeforeItIsAccepted: Read is raced with messages that are accepted
// and written. At no moment are more written than were accepted.
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
