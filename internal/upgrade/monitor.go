package upgrade

import (
	"os"
	"sync"
	"time"
)

// A monitor is a mutex whose holder can wait for a change of the fields it guards.
type monitor struct {
	sync.Mutex
	change chan struct{} // closed at the next change; nil while nobody waits
}

// wait unlocks m until the next wake, and locks it again. It returns os.ErrDeadlineExceeded
// at until, unless that is zero.
func (m *monitor) wait(until time.Time) error {
	var late <-chan time.Time
	if !until.IsZero() {
		late = time.After(time.Until(until))
	}
	if m.change == nil {
		m.change = make(chan struct{})
	}
	change := m.change
	m.Unlock()
	defer m.Lock()
	select {
	case <-change:
		return nil
	case <-late:
		return os.ErrDeadlineExceeded
	}
}

// wake ends every wait. m is locked.
func (m *monitor) wake() {
	if m.change != nil {
		close(m.change)
		m.change = nil
	}
}
