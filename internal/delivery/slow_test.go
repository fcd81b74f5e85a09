package delivery

import (
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/report"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// TestFullOutboxLooksOnlyWhenDue: each look asks the operating system, under the lock,
// and many Adds may wait for one full outbox. So a look is not repeated too early.
func TestFullOutboxLooksOnlyWhenDue(t *testing.T) {
	g := begun(Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 1, WriteTimeout: time.Minute})
	b := NewRecipient(g, "a", nil)
	b.cursor.conn = NewConnection(&sleepy{}, false)
	b.log.Append(&outbox.Message{Data: []byte("x")}, false)
	for already, looks := range map[time.Duration]bool{patience / 2: false, 2 * patience: true} {
		w := &flight{cursor: &b.cursor, conn: b.cursor.conn, since: time.Now().Add(-already)}
		b.cursor.flight = w // a look would set w.taken
		wait := b.waitLocked(&outbox.Message{ID: "a", Data: []byte("x")}, true)
		if looked := w.taken != (transport.Progress{}); looked != looks || wait < patience/4 || wait > patience {
			t.Errorf("after %v: looked is %v, and it waits for %v", already, looked, wait)
		}
	}
}
