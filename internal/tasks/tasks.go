// Package tasks counts the goroutines and timers of a pool, so that Shutdown can wait for
// them.
package tasks

import (
	"sync/atomic"
	"time"
)

// Tasks counts goroutines and timers that have not ended. The zero Tasks has none.
type Tasks struct{ n atomic.Int64 }

// Begin counts a task until End.
func (t *Tasks) Begin() { t.n.Add(1) }

// End ends a task that Begin or After has counted.
func (t *Tasks) End() { t.n.Add(-1) }

// None reports whether no task is left.
func (t *Tasks) None() bool { return t.n.Load() == 0 }

// Go runs f as a task, on a goroutine of its own.
func (t *Tasks) Go(f func()) {
	t.Begin()
	go func() {
		defer t.End()
		f()
	}()
}

// After runs f after d. It counts as a task from now on. A caller that stops the timer in time
// must call End.
func (t *Tasks) After(d time.Duration, f func()) *time.Timer {
	t.Begin()
	return time.AfterFunc(d, func() {
		defer t.End()
		f()
	})
}
