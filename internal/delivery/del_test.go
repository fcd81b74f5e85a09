package delivery

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/cursor"
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/report"
)

// TestDelRacedWithTakeover: a handler's own Del races with the Add of a newer connection, while
// other goroutines keep the id's lock busy. The newer connection must be there at the end: if Del
// comes first it removes the handler's connection, and if Add comes first Del removes nothing.
func TestDelRacedWithTakeover(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	old, next := upgraded(t), upgraded(t)
	bad, rounds := 0, 40
	for range rounds {
		g := begun(backlog.Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 1 << 20, WriteTimeout: time.Second})
		b := NewRecipient(&g.Shared, "a", nil)
		b.Attach(cursor.NewConnection(old.Conn, false), owners.Goroutine()) // its child goroutine calls Del
		newer := cursor.NewConnection(next.Conn, false)
		var others, both sync.WaitGroup
		var stop atomic.Bool
		for range 3 {
			others.Go(func() {
				for !stop.Load() {
					b.backlog.Lock()
					for start := time.Now(); time.Since(start) < 2*time.Millisecond; {
					}
					b.backlog.Unlock()
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		both.Go(func() { b.Remove(owners.WhoCalls(), frame.StatusNormal) })
		both.Go(func() {
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			b.Attach(newer, 2)
		})
		both.Wait()
		if connOf(b) != newer {
			bad++
		}
		stop.Store(true)
		others.Wait()
	}
	if bad > 0 {
		t.Errorf("%d of %d times the old handler's Del removed the newer connection", bad, rounds)
	}
}
