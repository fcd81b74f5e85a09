package outbox

import (
	"testing"

	"github.com/nulijiabei/gcpool/internal/transport"
)

// TestPushToADeadBox: Push to a dead box takes no message and returns no error, so that
// the caller looks the id up again. If Broadcast took the box for a full one, it would
// never end.
func TestPushToADeadBox(t *testing.T) {
	g := begun(Config{Buffer: 1000, Outbox: 1 << 20})
	b := NewBox(g, "a", new(Past))
	if !b.Retire() {
		t.Fatal("a new box does not retire")
	}
	for _, m := range []Message{{ID: "a"}, {}, {Here: true}} {
		if ok, err := b.Push(t.Context(), &m); ok || err != nil {
			t.Errorf("Push of %+v: %v, %v; want false and no error", m, ok, err)
		}
	}
}

// TestAttachToADeadOrClosedBox: Attach to a dead box refuses the connection, so that
// the caller looks the id up again. Attach after Close returns ErrClosed.
func TestAttachToADeadOrClosedBox(t *testing.T) {
	g := begun(Config{Buffer: 1000, Outbox: 1 << 20})
	dead, b := NewBox(g, "a", new(Past)), NewBox(g, "b", new(Past))
	dead.Retire()
	if ok, _ := dead.Attach(transport.NewLink(&sleepy{}, false), Caller{}); ok || dead.Link() != nil {
		t.Error("a dead box took a connection")
	}
	g.Close()
	if ok, err := b.Attach(transport.NewLink(&sleepy{}, false), Caller{}); !ok || err != ErrClosed || b.Link() != nil {
		t.Errorf("after Close: %v, %v; want true and ErrClosed", ok, err)
	}
}

// TestRetireKeepsWhatIsInUse: each of these alone keeps a box from being retired.
func TestRetireKeepsWhatIsInUse(t *testing.T) {
	g := begun(Config{Buffer: 1000, Outbox: 1 << 20})
	for what, use := range map[string]func(b *Box){
		"a connection":      func(b *Box) { b.link = transport.NewLink(&sleepy{}, false) },
		"a write under way": func(b *Box) { b.flight = &writer{} },
		"messages":          func(b *Box) { b.queue = queue{&chunk{}} },
		"a place in line":   func(b *Box) { b.busy = true },
	} {
		b := NewBox(g, "a", new(Past))
		if use(b); b.Retire() || b.dead {
			t.Errorf("retired with %s", what)
		}
	}
	b := NewBox(g, "a", new(Past))
	if b.owners = b.owners.add(Caller{}); !b.Retire() || !b.dead {
		t.Error("who added a connection keeps a box")
	}
}
