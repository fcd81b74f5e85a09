package delivery

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/report"
)

// TestNoPingFollowsAGoodbye: after the close frame of Shutdown nothing is sent.
func TestNoPingFollowsAGoodbye(t *testing.T) {
	for life, want := range map[life]byte{open: frame.Ping, goodbye: 0} {
		b := newBench(t, Config{Heartbeat: time.Hour})
		b.group.Begin(drain)
		link, _, _ := upgraded(t)
		conn := b.attachLink(link)
		conn.life, b.cursor.turn = life, writing // so that no writer comes
		b.Beat(conn.since+b.group.Heartbeat*3/2, 0)
		if conn.control != want {
			t.Errorf("in life %d: opcode %d is due, want %d", life, conn.control, want)
		}
	}
}

// TestNoIDsNoBeat: the heartbeat ends when no id is left.
func TestNoIDsNoBeat(t *testing.T) {
	g := begun(Config{Heartbeat: 4 * time.Millisecond})
	g.Beat()
	dismissed(t, g)
}

// TestQuietIDKeepsNoSpare: an id keeps a chunk for its next message while it is busy, until
// the second beat after its last write.
func TestQuietIDKeepsNoSpare(t *testing.T) {
	b := newBench(t, Config{})
	b.attach()
	spare := func() bool { return !reflect.ValueOf(&b.log).Elem().FieldByName("spare").IsNil() }
	for range 2 {
		b.push("1")
		b.whole(b.take())
	}
	if !spare() {
		t.Error("a busy id keeps no chunk")
	}
	for range 2 {
		b.Beat(b.group.line.Now(), 0)
	}
	if spare() {
		t.Error("a quiet id keeps a chunk")
	}
}

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
