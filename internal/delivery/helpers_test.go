package delivery

import (
	"net"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/cursor"
	"github.com/nulijiabei/gcpool/internal/nettest"
	"github.com/nulijiabei/gcpool/internal/schedule"
	"github.com/nulijiabei/gcpool/internal/upgrade"
)

// begun returns a group that has begun to write, without a registry.
func begun(c backlog.Config) *Group {
	g := newGroup(c)
	g.Line.Open(drain)
	return g
}

func newGroup(c backlog.Config) *Group {
	return NewGroup(c, func() []*Recipient { return nil }, func(string) {})
}

func drain(w *schedule.Writer) {
	for w.Next() {
		w.Write()
	}
}

func connOf(r *Recipient) *cursor.Connection { return r.Conn() }

// dismissed waits until no writer is left.
func dismissed(t *testing.T, g *Group) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !g.Tasks.None(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("writers are left")
		}
	}
}

// upgraded returns a connection under Upgrade that has completed its handshake.
func upgraded(t *testing.T) *cursor.Connection {
	t.Helper()
	ours, _ := nettest.TCP(t)
	return cursor.NewConnection(upgrade.NewOpen(ours), false)
}

// A sleepy connection takes d for each write.
type sleepy struct {
	net.Conn
	d time.Duration
}

func (s sleepy) Write(p []byte) (int, error)    { time.Sleep(s.d); return len(p), nil }
func (sleepy) Close() error                     { return nil }
func (sleepy) SetDeadline(time.Time) error      { return nil }
func (sleepy) SetWriteDeadline(time.Time) error { return nil }
