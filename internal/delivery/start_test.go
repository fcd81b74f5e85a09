package delivery

import (
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/cursor"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/report"
)

// TestStartBetweenWaitAndAccept: Start comes after the check for room and before the message is
// accepted. The message may then exceed the outbox, but it must not close the connection.
func TestStartBetweenWaitAndAccept(t *testing.T) {
	g := NewGroup(backlog.Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 10, WriteTimeout: time.Second}, func() []*Recipient { return nil }, func(string) {})
	b, m := NewRecipient(&g.Shared, "a", nil), &outbox.Message{ID: "a", Data: make([]byte, 10)}
	link := cursor.NewConnection(&sleepy{}, false)
	b.Attach(link, 0)
	b.Push(t.Context(), m)
	b.backlog.Lock()
	full := b.backlog.Full(m)
	if full {
		t.Error("Push waits for room before Start")
	}
	g.Line.Open(drain)
	slow := b.backlog.Accept(m, full)
	b.backlog.Unlock()
	if slow || connOf(b) != link {
		t.Error("the message has closed the connection")
	}
}

// TestPushBehindWhatIsUndecided: the fate of messages for an unknown id is decided after Start,
// when a writer reaches them. Until then a Push behind them must wait for room.
func TestPushBehindWhatIsUndecided(t *testing.T) {
	g := NewGroup(backlog.Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 10, WriteTimeout: time.Second}, func() []*Recipient { return nil }, func(string) {})
	b, m := NewRecipient(&g.Shared, "a", nil), &outbox.Message{ID: "a", Data: []byte("12345")}
	for range 3 {
		if ok, err := b.Push(t.Context(), m); !ok || err != nil {
			t.Fatalf("Push before Begin: %v, %v", ok, err)
		}
	}
	b.backlog.Lock() // the next writer waits for this lock
	g.Line.Open(drain)
	if wait, err := b.tryLocked(m); wait <= 0 || err != nil || g.Stats().Accepted != 3 {
		t.Errorf("Push behind 15 bytes, of 10, waits for %v, %v: %+v", wait, err, g.Stats())
	}
	b.backlog.Unlock()
	if _, err := b.Push(t.Context(), m); err != nil {
		t.Error(err)
	}
	dismissed(t, g)
	if s := g.Stats(); s.Accepted != 4 || s.NotConnected != 4 {
		t.Errorf("%+v", s)
	}
}
