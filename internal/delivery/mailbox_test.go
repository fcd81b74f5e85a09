package delivery

import (
	"context"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/report"
)

// TestTwoTrimsGiveUpNoMoreThanOne: two trims at once must not both drop a message to
// make the same room.
func TestTwoTrimsGiveUpNoMoreThanOne(t *testing.T) {
	over := 0
	for range 3000 {
		g := begun(Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 1 << 20, WriteTimeout: time.Second, MailboxTTL: time.Hour, MailboxBytes: 100})
		b := NewRecipient(g, "a", nil)
		push := func() { b.Push(context.Background(), &outbox.Message{ID: "a", Data: make([]byte, 10)}) }
		for range 10 {
			push()
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(push)
		}
		wg.Wait()
		b.mu.Lock()
		held := b.log.Bytes
		b.mu.Unlock()
		if held != 100 {
			over++
		}
	}
	if over > 0 {
		t.Errorf("%d of 3000 times a message was given up that fitted", over)
	}
}

// TestMailElsewhereWhoseIDConnects: a message in the mailbox is on its way elsewhere when its
// id connects. The mailbox counts what waits in it, and nothing else.
func TestMailElsewhereWhoseIDConnects(t *testing.T) {
	for name, test := range map[string]struct {
		step     func(b *bench, remote *held)
		messages int
	}{
		"it is delivered there": {func(b *bench, remote *held) { b.attach(); remote.done([]error{nil}) }, 0},
		"it comes back":         {func(b *bench, remote *held) { b.attach(); remote.done([]error{outcome.ErrNotConnected}) }, 0},
		"it has expired, and the id goes": {func(b *bench, _ *held) {
			b.mail.expireOldest()
			b.attach()
			b.remove(outcome.ErrDeleted)
		}, 1},
	} {
		b, remote := newBench(t, Config{MailboxTTL: time.Hour, MailboxBytes: 1000}), new(held)
		b.group.SetRemote(remote)
		b.push("1")
		b.cursor.Serve(&b.writer)
		remote.done([]error{outcome.ErrNotConnected}) // so it is mail
		b.push("2")
		b.cursor.Serve(&b.writer)
		if f := b.cursor.flight; f == nil || f.mail != 1 || b.mail.messages() != 1 {
			t.Fatalf("%s: no mail is on its way", name)
		}
		test.step(b, remote)
		if b.mail.messages() != test.messages || b.mail.payload() != test.messages {
			t.Errorf("%s: the mailbox counts %d messages of %d bytes, want %d", name, b.mail.messages(), b.mail.payload(), test.messages)
		}
	}
}

// A most connection takes all of 600 messages but the last.
type most struct {
	sleepy
	n    int
	hold chan bool
}

func (m *most) Write(p []byte) (int, error) {
	if m.n++; m.n == 1 {
		<-m.hold // meanwhile more messages gather
		return len(p), nil
	}
	if m.n < 600 {
		return len(p), nil
	}
	return 0, io.ErrClosedPipe // the last write fails
}

// TestMailKeepsNoMoreThanItNeeds: an entry keeps its own bytes in memory, not the
// whole chunk that it came in.
func TestMailKeepsNoMoreThanItNeeds(t *testing.T) {
	const limit = 1 << 20
	g := begun(Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 1 << 20, WriteTimeout: time.Second, MailboxTTL: time.Hour, MailboxBytes: limit})
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	boxes := make([]*Recipient, 2000)
	for i := range boxes {
		b := NewRecipient(g, "a", nil)
		conn := &most{hold: make(chan bool)}
		b.Attach(NewConnection(conn, false), owners.Caller{})
		for range 600 {
			b.Push(context.Background(), &outbox.Message{ID: "a", Data: make([]byte, 100)})
		}
		close(conn.hold)
		for connOf(b) != nil {
			time.Sleep(10 * time.Microsecond)
		}
		boxes[i] = b
	}
	g.mailbox.Trim()
	if used := heap() - before; used > 4*limit {
		t.Errorf("a mailbox of %d bytes takes %d", limit, used)
	}
	runtime.KeepAlive(boxes)
}

// TestMailOfAClosedMailbox: the cluster leaves just when Shutdown has closed the mailbox. What
// waits there is reported once.
func TestMailOfAClosedMailbox(t *testing.T) {
	b := newBench(t, Config{MailboxTTL: time.Hour, MailboxBytes: 1000})
	b.group.Begin(drain)
	b.push("1")
	b.push("2")
	b.group.Close()
	b.WithoutRemote(outcome.ErrNotConnected, false)
	b.group.mailbox.Trim()
	if s := b.group.Stats(); s.Undelivered != 2 || s.Waiting != 0 || b.mail.messages() != 0 {
		t.Errorf("%d are in the mailbox: %+v", b.mail.messages(), s)
	}
}
