package outbox

import (
	"context"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/transport"
)

// TestStartBetweenWaitAndAccept: Start comes between the check for room and the
// acceptance of a message. The message may exceed the outbox then, but that must not
// close the connection.
func TestStartBetweenWaitAndAccept(t *testing.T) {
	g := NewGroup(Config{Buffer: 1000, Outbox: 10, WriteTimeout: time.Second}, func() []*Box { return nil }, func(*Box) {})
	b, m := NewBox(g, "a", new(Past)), &Message{ID: "a", Data: make([]byte, 10)}
	link := transport.NewLink(&sleepy{}, false)
	b.Attach(link, Caller{})
	b.Push(t.Context(), m)
	b.mu.Lock()
	bounded := g.Begun()
	if wait := b.waitLocked(m, bounded); wait > 0 {
		t.Errorf("before Start a message waits for %v", wait)
	}
	g.Begin()
	b.acceptLocked(m, bounded)
	if b.link != link {
		t.Error("it has closed the connection")
	}
	b.mu.Unlock()
}

// TestPushBehindWhatIsUndecided: messages for an unknown id are decided after Start,
// when a writer comes. Until then a Push waits for room behind them.
func TestPushBehindWhatIsUndecided(t *testing.T) {
	g := NewGroup(Config{Buffer: 1000, Outbox: 10, WriteTimeout: time.Second}, func() []*Box { return nil }, func(*Box) {})
	g.limit = 0 // no writer comes
	b, m := NewBox(g, "a", new(Past)), &Message{ID: "a", Data: []byte("12345")}
	for range 3 {
		if ok, err := b.Push(t.Context(), m); !ok || err != nil {
			t.Fatalf("Push before Begin: %v, %v", ok, err)
		}
	}
	g.Begin()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Push(ended, m); err != context.Canceled || g.Stats().Accepted != 3 {
		t.Errorf("Push behind 15 bytes, of 10: %v, %+v", err, g.Stats())
	}
	g.limit = 1
	g.enqueue(NewBox(g, "b", new(Past))) // this brings a writer
	if _, err := b.Push(t.Context(), m); err != nil {
		t.Error(err)
	}
	dismissed(t, g)
	if s := g.Stats(); s.Accepted != 4 || s.NotConnected != 4 {
		t.Errorf("%+v", s)
	}
}
