package delivery

import (
	"context"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/report"
)

// TestShutdownWaitsForABeat: Shutdown waits for a heartbeat that is running, so that no
// goroutine is left.
func TestShutdownWaitsForABeat(t *testing.T) {
	looks, free := make(chan bool), make(chan bool)
	var g *Group
	g = NewGroup(Config{Hooks: report.Hooks{Buffer: 1}, Outbox: 1, WriteTimeout: time.Second, Heartbeat: 4 * time.Millisecond}, func() []*Recipient {
		if !g.closed.Load() {
			looks <- true
			<-free
		}
		return nil
	}, func(*Recipient) {})
	g.Beat()
	<-looks
	g.Close()
	ended := make(chan error, 1)
	go func() { ended <- g.Shutdown(context.Background()) }()
	select {
	case <-ended:
		t.Error("Shutdown has ended, and a beat has not")
	case <-time.After(50 * time.Millisecond):
	}
	close(free)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	g.Beat() // no beat comes after Shutdown
	if !g.tasks.None() {
		t.Error("a beat is due after Shutdown")
	}
}
