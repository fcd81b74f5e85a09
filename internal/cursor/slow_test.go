package cursor

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// TestFullOutboxLooksOnlyWhenDue: each look asks the operating system while the lock is held,
// and many Adds may wait for one full outbox. A look must not be repeated too early.
func TestFullOutboxLooksOnlyWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newID(begun(backlog.Config{WriteTimeout: time.Minute}))
		b.conn = NewConnection(&sleepy{}, false)
		for already, test := range map[time.Duration]struct {
			looks bool
			waits time.Duration
		}{patience / 2: {false, patience / 2}, 2 * patience: {true, patience}} {
			w := &flight{cursor: &b.Cursor, conn: b.conn, since: time.Now().Add(-already)}
			b.flight = w // a look would set w.taken
			wait := b.PatienceLocked()
			if looked := w.taken != (transport.Progress{}); looked != test.looks || wait != test.waits {
				t.Errorf("after %v: looked is %v, and it waits for %v, not %v", already, looked, wait, test.waits)
			}
		}
	})
}
