package outbox

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/wire"
)

type sleepy struct {
	net.Conn
	d time.Duration
}

func (s sleepy) Write(p []byte) (int, error)    { time.Sleep(s.d); return len(p), nil }
func (sleepy) Close() error                     { return nil }
func (sleepy) SetDeadline(time.Time) error      { return nil }
func (sleepy) SetWriteDeadline(time.Time) error { return nil }

type gate struct {
	sleepy
	free chan bool
}

func (g *gate) Write(p []byte) (int, error) { <-g.free; return len(p), nil }

// TestWriteThatLandsAsItsTimerFires: the writer may be with another box by then.
func TestWriteThatLandsAsItsTimerFires(t *testing.T) {
	const d = 30 * time.Millisecond
	g := NewGroup(Config{Buffer: 1000, Outbox: 1 << 20, WriteTimeout: d, Newline: true}, func() []*Box { return nil }, func(*Box) {})
	g.limit = 1000
	push := func(b *Box) { b.Push(context.Background(), &Message{ID: b.ID, Data: []byte("x")}) }
	var others []*Box
	for range 500 {
		b := NewBox(g, "other")
		b.Attach(wire.NewLink(&sleepy{}))
		others = append(others, b)
	}
	for range 40 {
		b, conn := NewBox(g, "a"), &gate{free: make(chan bool, 1)}
		b.Attach(wire.NewLink(conn))
		push(b)
		time.Sleep(20 * time.Millisecond) // replaced, and watched
		b.mu.Lock()                       // as a Push has it, for a moment
		conn.free <- true                 // the write ends, and waits to land
		time.Sleep(20 * time.Millisecond) // the timer fires
		done := make(chan bool)
		go func() {
			defer close(done)
			for _, o := range others {
				push(o)
			}
		}()
		b.mu.Unlock()
		<-done
		time.Sleep(5 * time.Millisecond)
	}
}

// TestTwoTrimsGiveUpNoMoreThanOne: each must see that its letter is still the oldest.
func TestTwoTrimsGiveUpNoMoreThanOne(t *testing.T) {
	over := 0
	for range 3000 {
		g := NewGroup(Config{Buffer: 1000, Outbox: 1 << 20, WriteTimeout: time.Second, MailboxTTL: time.Hour, MailboxBytes: 100}, func() []*Box { return nil }, func(*Box) {})
		b := NewBox(g, "a")
		push := func() { b.Push(context.Background(), &Message{ID: "a", Data: make([]byte, 10)}) }
		for range 10 {
			push()
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(push)
		}
		wg.Wait()
		b.mu.Lock()
		held := b.held
		b.mu.Unlock()
		if held != 100 {
			over++
		}
		g.mailbox.mu.Lock()
		g.mailbox.timer.Stop()
		g.mailbox.mu.Unlock()
	}
	if over > 0 {
		t.Errorf("%d of 3000 times a message was given up that fitted", over)
	}
}

type most struct {
	sleepy
	n    int
	hold chan bool
}

func (m *most) Write(p []byte) (int, error) {
	if m.n++; m.n == 1 {
		<-m.hold // more gathers behind the first message
		return len(p), nil
	}
	if m.n < 600 {
		return len(p), nil
	}
	return 0, io.ErrClosedPipe // the last one does not go
}

// TestLetterKeepsNoMoreThanItNeeds: not the chunk that it came in.
func TestLetterKeepsNoMoreThanItNeeds(t *testing.T) {
	const limit = 1 << 20
	g := NewGroup(Config{Buffer: 1000, Outbox: 1 << 20, WriteTimeout: time.Second, MailboxTTL: time.Hour, MailboxBytes: limit}, func() []*Box { return nil }, func(*Box) {})
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	boxes := make([]*Box, 2000)
	for i := range boxes {
		b := NewBox(g, "a")
		conn := &most{hold: make(chan bool)}
		b.Attach(wire.NewLink(conn))
		for range 600 {
			b.Push(context.Background(), &Message{ID: "a", Data: make([]byte, 100)})
		}
		close(conn.hold)
		for b.Link() != nil {
			time.Sleep(10 * time.Microsecond)
		}
		boxes[i] = b
	}
	g.mailbox.trim()
	if used := heap() - before; used > 4*limit {
		t.Errorf("%d letters of %d bytes in all take %d", g.mailbox.letters.Len(), g.mailbox.bytes, used)
	}
	runtime.KeepAlive(boxes)
}

// TestPushToADeadBox: its id is to be looked up again, whatever the message is;
// a Broadcast that took it for a full one would never end.
func TestPushToADeadBox(t *testing.T) {
	g := NewGroup(Config{Buffer: 1000, Outbox: 1 << 20}, func() []*Box { return nil }, func(*Box) {})
	b := NewBox(g, "a")
	if !b.Retire() {
		t.Fatal("a new box does not retire")
	}
	for _, m := range []Message{{ID: "a"}, {}, {Here: true}, {ID: "a", Kept: true}} {
		if ok, err := b.Push(t.Context(), &m); ok || err != nil {
			t.Errorf("Push of %+v: %v, %v; want false and no error", m, ok, err)
		}
	}
}
