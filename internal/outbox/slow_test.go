package outbox

import (
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/transport"
)

// TestFullOutboxLooksOnlyWhenDue: each look asks the operating system, under the lock,
// and many Adds may wait for one full outbox. So a look is not repeated too early.
func TestFullOutboxLooksOnlyWhenDue(t *testing.T) {
	g := begun(Config{Buffer: 1000, Outbox: 1, WriteTimeout: time.Minute})
	b := NewBox(g, "a", new(Past))
	b.link, b.held = transport.NewLink(&sleepy{}, false), 1
	for already, looks := range map[time.Duration]bool{patience / 2: false, 2 * patience: true} {
		w := &writer{group: g, box: b, flight: flight{link: b.link, since: time.Now().Add(-already)}}
		b.flight = w // a look would set w.taken
		wait := b.waitLocked(&Message{ID: "a", Data: []byte("x")}, true)
		if looked := w.taken != (transport.Progress{}); looked != looks || wait < patience/4 || wait > patience {
			t.Errorf("after %v: looked is %v, and it waits for %v", already, looked, wait)
		}
	}
}
