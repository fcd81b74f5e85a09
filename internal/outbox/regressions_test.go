package outbox

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/transport"
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

// TestWriteThatLandsAsItsTimerFires: neither the write that the writer is with by
// then nor its connection is judged by that timer.
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

// TestTwoTrimsGiveUpNoMoreThanOne: each must see that its letter is still the oldest.
func TestTwoTrimsGiveUpNoMoreThanOne(t *testing.T) {
	over := 0
	for range 3000 {
		g := begun(Config{Buffer: 1000, Outbox: 1 << 20, WriteTimeout: time.Second, MailboxTTL: time.Hour, MailboxBytes: 100})
		b := NewBox(g, "a", new(Past))
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
	g := begun(Config{Buffer: 1000, Outbox: 1 << 20, WriteTimeout: time.Second, MailboxTTL: time.Hour, MailboxBytes: limit})
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
		b := NewBox(g, "a", new(Past))
		conn := &most{hold: make(chan bool)}
		b.Attach(transport.NewLink(conn, false), Caller{})
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

// TestAttachToADeadOrClosedBox: a connection is not lost in one.
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

// TestRetireKeepsWhatIsInUse: each of these alone keeps a box.
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

// TestDelRacedWithTakeover: a handler's own Del and the Add of a newer connection at
// once, while others hold the id's lock as large Pushes do. If Del comes first it
// removes the handler's own connection; if Add does, it removes none. Either way the newer connection is there in the end.
func TestDelRacedWithTakeover(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	old, _, _ := upgraded(t) // their handlers run until the test ends
	next, _, _ := upgraded(t)
	bad, rounds := 0, 40
	for range rounds {
		g := begun(Config{Buffer: 1000, Outbox: 1 << 20, WriteTimeout: time.Second})
		b := NewBox(g, "a", new(Past))
		b.Attach(transport.NewLink(old.Conn, false), WhoCalls()) // whose child calls Del
		newer := transport.NewLink(next.Conn, false)
		var others, both sync.WaitGroup
		var stop atomic.Bool
		for range 3 {
			others.Go(func() {
				for !stop.Load() {
					b.mu.Lock()
					for start := time.Now(); time.Since(start) < 2*time.Millisecond; {
					}
					b.mu.Unlock()
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		both.Go(func() { b.Del(WhoCalls()) })
		both.Go(func() {
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			b.Attach(newer, Caller{Goroutine: 2})
		})
		both.Wait()
		if b.Link() != newer {
			bad++
		}
		stop.Store(true)
		others.Wait()
	}
	if bad > 0 {
		t.Errorf("%d of %d times the old handler's Del removed the newer connection", bad, rounds)
	}
}

// TestNoAddWaitsForALogger: many come at once while it is slow, and there is no hook
// that Add would wait for.
func TestNoAddWaitsForALogger(t *testing.T) {
	b := blockedLogger{make(chan bool)}
	g := begun(Config{Buffer: 1, Outbox: 1 << 20, WriteTimeout: time.Second, Logger: slog.New(b)})
	g.report.verbose.Store(true)
	g.report.mu.Lock() // as another has it, for a moment
	var joining sync.WaitGroup
	for range 8 {
		joining.Go(func() { NewBox(g, "a", new(Past)).Attach(transport.NewLink(&sleepy{}, false), Caller{}) })
	}
	time.Sleep(20 * time.Millisecond)
	g.report.mu.Unlock()
	joining.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := g.Room(ctx); err != nil {
		t.Errorf("Room: %v, %d lines wait", err, g.report.backlog.Load())
	}
	close(b.open)
}

// blockedLogger is a [slog.Handler] that blocks until it is opened.
type blockedLogger struct{ open chan bool }

func (b blockedLogger) Handle(context.Context, slog.Record) error { <-b.open; return nil }
func (b blockedLogger) Enabled(context.Context, slog.Level) bool  { return true }
func (b blockedLogger) WithAttrs([]slog.Attr) slog.Handler        { return b }
func (b blockedLogger) WithGroup(string) slog.Handler             { return b }

// TestChunkIsNotMuchLarger than what it is for.
func TestChunkIsNotMuchLarger(t *testing.T) {
	for n := 1; n < 200_000; n += n/10 + 1 {
		if c := newChunk(n); cap(c.buf) < n || cap(c.buf) > max(2*n, 16<<10) {
			t.Errorf("a chunk for %d bytes has %d", n, cap(c.buf))
		}
	}
}

// TestShutdownWaitsForABeat that is under way: no goroutine is left.
func TestShutdownWaitsForABeat(t *testing.T) {
	looks, free := make(chan bool), make(chan bool)
	var g *Group
	g = NewGroup(Config{Buffer: 1, Outbox: 1, WriteTimeout: time.Second, Heartbeat: 4 * time.Millisecond}, func() []*Box {
		if !g.closed.Load() {
			looks <- true
			<-free
		}
		return nil
	}, func(*Box) {})
	g.Beat()
	<-looks
	g.Close()
	ended := make(chan error, 1)
	go func() { ended <- g.Shutdown(context.Background()) }()
	select {
	case <-ended:
		t.Error("Shutdown has ended, and a beat has not")
	case <-time.After(50 * time.Millisecond):
	}
	close(free)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	g.Beat() // none comes after
	if g.tasks.Load() != 0 {
		t.Error("a beat is due after Shutdown")
	}
}
