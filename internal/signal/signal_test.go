package signal

import (
	"sync"
	"sync/atomic"
	"testing"
)

// TestNoWakeIsMissed: each of many goroutines checks for the last change after it calls Next,
// so it either sees that change or is woken for it.
func TestNoWakeIsMissed(t *testing.T) {
	const changes = 2000
	var s Signal
	var value atomic.Int64
	var waiters sync.WaitGroup
	for range 4 {
		waiters.Go(func() {
			for value.Load() < changes {
				if next := s.Next(); value.Load() < changes {
					<-next
				}
			}
		})
	}
	for range 2 {
		waiters.Go(func() {
			for range changes / 2 {
				value.Add(1)
				s.Wake()
			}
		})
	}
	waiters.Wait() // blocks forever if a wake was missed
}

// TestWakeWakesAll: all waiters share one channel, and later waiters get another.
func TestWakeWakesAll(t *testing.T) {
	var s Signal
	s.Wake() // nobody waits
	first, second := s.Next(), s.Next()
	s.Wake()
	later := s.Next()
	<-first
	<-second
	select {
	case <-later:
		t.Error("Next after Wake returned a channel that is closed")
	default:
	}
}
