package delivery

import (
	"context"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/report"
)

// TestNoIDsNoBeat: the heartbeat ends when no id is left.
func TestNoIDsNoBeat(t *testing.T) {
	g := begun(backlog.Config{Heartbeat: 4 * time.Millisecond})
	g.Beat()
	dismissed(t, g)
}

// TestShutdownWaitsForABeat: Shutdown must wait for a running beat,
// so that it leaves no goroutine behind.
func TestShutdownWaitsForABeat(t *testing.T) {
	looks, free := make(chan bool), make(chan bool)
	var g *Group
	g = NewGroup(backlog.Config{Hooks: report.Hooks{Buffer: 1}, Outbox: 1, WriteTimeout: time.Second, Heartbeat: 4 * time.Millisecond}, func() []*Recipient {
		if !g.Closed.Load() {
			looks <- true
			<-free
		}
		return nil
	}, func(string) {})
	g.Beat()
	<-looks
	g.Close()
	ended := make(chan error, 1)
	go func() { ended <- g.Shutdown(context.Background()) }()
	select {
	case <-ended:
		t.Error("Shutdown returned during a beat")
	case <-time.After(50 * time.Millisecond):
	}
	close(free)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	g.Beat() // no beat comes after Shutdown
	if !g.Tasks.None() {
		t.Error("a beat is due after Shutdown")
	}
}
