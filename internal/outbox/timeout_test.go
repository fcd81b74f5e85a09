package outbox

import (
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/transport"
)

// TestWriteThatLandsAsItsTimerFires: the timer of a write fires when that write has
// ended. It must not time out the writer's next write or close the connection.
func TestWriteThatLandsAsItsTimerFires(t *testing.T) {
	g := begun(Config{Buffer: 1000, Outbox: 1 << 20, WriteTimeout: time.Minute, Newline: true})
	b, conn := NewBox(g, "a", new(Past)), &gate{free: make(chan bool)}
	b.Attach(transport.NewLink(conn, false), Caller{})
	push := func() { b.Push(t.Context(), &Message{ID: "a", Data: []byte("x")}) }
	watched := func() (w *writer, timer *time.Timer) {
		for timer == nil {
			time.Sleep(time.Millisecond)
			b.mu.Lock()
			if w = b.flight; w != nil {
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
		var same *writer
		if same, second = watched(); same != w {
			t.Fatal("another writer goes on")
		}
	}
	b.late(w, &first)
	if b.Link() == nil {
		t.Error("the second write was judged by the first one's timer")
	}
	conn.free <- true
	for b.mu.Lock(); b.flight != nil; b.mu.Lock() {
		b.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	b.mu.Unlock()
	b.late(w, &second)
	if b.Link() == nil {
		t.Error("a write that has landed was judged")
	}
}
