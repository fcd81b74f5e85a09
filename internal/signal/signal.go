// Package signal wakes goroutines that wait for something to change.
package signal

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Signal wakes all goroutines that wait, with one close of a channel. All methods may be called
// concurrently, and only Wait blocks. On the zero Signal, no goroutine waits.
type Signal struct {
	next atomic.Pointer[chan struct{}] // nil while no goroutine waits
}

// Next returns a channel that the next Wake closes. Call Next first, then check whether there is
// a reason to wait; in the other order, a Wake in between would be missed.
func (s *Signal) Next() <-chan struct{} {
	next := make(chan struct{})
	for !s.next.CompareAndSwap(nil, &next) {
		if other := s.next.Load(); other != nil {
			return *other
		}
	}
	return next
}

// Wake ends every wait. While no goroutine waits, it costs one atomic load.
func (s *Signal) Wake() {
	if next := s.next.Load(); next != nil && s.next.CompareAndSwap(next, nil) {
		close(*next)
	}
}

// Wait releases mu, waits for the next Wake or for late, and locks mu again. It waits on
// channels, because in a bubble of testing/synctest no time passes while a goroutine waits for a
// sync.Mutex.
func (s *Signal) Wait(mu *sync.Mutex, late <-chan time.Time) {
	next := s.Next()
	mu.Unlock()
	defer mu.Lock()
	select {
	case <-next:
	case <-late:
	}
}
