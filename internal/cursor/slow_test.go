package cursor

import (
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// TestFullOutboxLooksOnlyWhenDue: each look asks the operating system, under the lock,
// and many Adds may wait for one full outbox. So a look is not repeated too early.
func TestFullOutboxLooksOnlyWhenDue(t *testing.T) {
	b := newID(begun(backlog.Config{WriteTimeout: time.Minute}))
	b.conn = NewConnection(&sleepy{}, false)
	for already, looks := range map[time.Duration]bool{patience / 2: false, 2 * patience: true} {
		w := &flight{cursor: &b.Cursor, conn: b.conn, since: time.Now().Add(-already)}
		b.flight = w // a look would set w.taken
		wait := b.PatienceLocked()
		if looked := w.taken != (transport.Progress{}); looked != looks || wait < patience/4 || wait > patience {
			t.Errorf("after %v: looked is %v, and it waits for %v", already, looked, wait)
		}
	}
}
