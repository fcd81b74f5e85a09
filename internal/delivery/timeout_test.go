package delivery

import (
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/report"
)

// TestWriteThatLandsAsItsTimerFires: the timer of a write fires when that write has
// ended. It must not time out the writer's next write or close the connection.
func TestWriteThatLandsAsItsTimerFires(t *testing.T) {
	g := begun(Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 1 << 20, WriteTimeout: time.Minute, Newline: true})
	b, conn := NewRecipient(g, "a", nil), &gate{free: make(chan bool)}
	b.Attach(NewConnection(conn, false), owners.Caller{})
	push := func() { b.Push(t.Context(), &outbox.Message{ID: "a", Data: []byte("x")}) }
	watched := func() (w *flight, timer *time.Timer) {
		for timer == nil {
			time.Sleep(time.Millisecond)
			b.mu.Lock()
			if w = b.cursor.flight; w != nil {
				timer = w.timer
			}
			b.mu.Unlock()
		}
		return w, timer
	}
	push()
	w, first := watched()
	push()
	conn.free <- true
	second := first
	for second == first {
		var same *flight
		if same, second = watched(); same != w {
			t.Fatal("another writer goes on")
		}
	}
	b.cursor.judge(w, &first)
	if connOf(b) == nil {
		t.Error("the second write was judged by the first one's timer")
	}
	conn.free <- true
	for b.mu.Lock(); b.cursor.flight != nil; b.mu.Lock() {
		b.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	b.mu.Unlock()
	b.cursor.judge(w, &second)
	if connOf(b) == nil {
		t.Error("a write that has landed was judged")
	}
}
