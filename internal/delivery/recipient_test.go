package delivery

import (
	"runtime"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/cursor"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/report"
)

// TestPushToADeadRecipient: Push to a dead recipient takes no message and returns no error, so that
// the caller looks the id up again. If Broadcast took the recipient for a full one, it would
// never end.
func TestPushToADeadRecipient(t *testing.T) {
	g := begun(backlog.Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 1 << 20})
	b := NewRecipient(&g.Shared, "a", nil)
	if _, retired := b.Retire(); !retired {
		t.Fatal("a new recipient does not retire")
	}
	for _, m := range []outbox.Message{{ID: "a"}, {}, {FromRemote: true}} {
		if ok, err := b.Push(t.Context(), &m); ok || err != nil {
			t.Errorf("Push of %+v: %v, %v; want false and no error", m, ok, err)
		}
	}
}

// TestAttachToADeadOrClosedRecipient: Attach to a dead recipient refuses the connection, so that
// the caller looks the id up again. Attach after Close returns ErrClosed.
func TestAttachToADeadOrClosedRecipient(t *testing.T) {
	g := begun(backlog.Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 1 << 20})
	dead, b := NewRecipient(&g.Shared, "a", nil), NewRecipient(&g.Shared, "b", nil)
	dead.Retire()
	if ok, _ := dead.Attach(cursor.NewConnection(&sleepy{}, false), 0); ok || connOf(dead) != nil {
		t.Error("a dead recipient took a connection")
	}
	g.Close()
	if ok, err := b.Attach(cursor.NewConnection(&sleepy{}, false), 0); !ok || err != outcome.ErrClosed || connOf(b) != nil {
		t.Errorf("after Close: %v, %v; want true and ErrClosed", ok, err)
	}
}

// TestRetireKeepsWhatIsInUse: each of these alone keeps a recipient from being retired.
func TestRetireKeepsWhatIsInUse(t *testing.T) {
	for what, use := range map[string]func(b *Recipient){
		"a connection": func(b *Recipient) { b.Attach(cursor.NewConnection(&sleepy{}, false), 0) },
		"messages":     func(b *Recipient) { b.Push(t.Context(), &outbox.Message{ID: "a", Data: []byte("x")}) },
	} {
		b := NewRecipient(&newGroup(backlog.Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 1 << 20}).Shared, "a", nil)
		use(b)
		if _, retired := b.Retire(); retired || b.backlog.Dead {
			t.Errorf("retired with %s", what)
		}
	}
	b := NewRecipient(&begun(backlog.Config{}).Shared, "a", owners.List{}.Add(0, 1))
	if o, retired := b.Retire(); !retired || !b.backlog.Dead || len(o) != 1 {
		t.Error("a past owner keeps a recipient from being retired, or is forgotten")
	}
}

// TestWhoWaitsForAnUnknownID: a message for an id without a recipient is refused at once,
// unless it may wait for something.
func TestWhoWaitsForAnUnknownID(t *testing.T) {
	c := backlog.Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 1 << 20}
	mailbox := c
	mailbox.MailboxTTL, mailbox.MailboxBytes = time.Hour, 1000
	for name, test := range map[string]struct {
		backlog.Config
		prepare      func(g *Group)
		refused      bool
		err          error
		notConnected uint64
	}{
		"nothing":     {c, func(g *Group) { g.Line.Open(drain) }, true, nil, 1},
		"Start":       {c, func(*Group) {}, false, nil, 0},
		"the mailbox": {mailbox, func(g *Group) { g.Line.Open(drain) }, false, nil, 0},
		"a cluster":   {c, func(g *Group) { g.Line.Open(drain); g.SetRemote(silent{}) }, false, nil, 0},
		"Shutdown":    {mailbox, func(g *Group) { g.Close() }, true, outcome.ErrClosed, 0},
	} {
		g := NewGroup(test.Config, func() []*Recipient { return nil }, func(string) {})
		test.prepare(g)
		refused, err := g.Refuse(&outbox.Message{ID: "a", Data: []byte("x")})
		if s := g.Stats(); refused != test.refused || err != test.err || s.NotConnected != test.notConnected || s.Accepted != test.notConnected {
			t.Errorf("a message that may wait for %s: refused %v, %v, %+v", name, refused, err, s)
		}
	}
}

// silent is a Remote that does nothing.
type silent struct{}

func (silent) Changed(_, _ string)                                   {}
func (silent) Forward(_, _ string, _ [][]byte, _ func(errs []error)) {}
func (silent) Broadcast(string, []byte) error                        { return nil }

// TestIDKeepsNoURL: an id cut out of a long URL must not keep the rest of the URL in memory.
func TestIDKeepsNoURL(t *testing.T) {
	url := new([1 << 20]byte)
	kept := weak.Make(url)
	r := NewRecipient(&begun(backlog.Config{}).Shared, unsafe.String(&url[0], 1), nil)
	runtime.GC()
	runtime.GC()
	if kept.Value() != nil {
		t.Error("the URL is still in memory")
	}
	runtime.KeepAlive(r)
}
