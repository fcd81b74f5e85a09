package promises

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

func heapNow() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestDeliverWaitersThatGaveUpTakeLittle: Delivers that have given up
// waiting must take little memory.
func TestDeliverWaitersThatGaveUpTakeLittle(t *testing.T) {
	p, conns, stream := started(t, gcpool.WithWriteTimeout(time.Hour), gcpool.WithOverflow(gcpool.DropNewest))
	pipe(t, conns, "a")
	before := heapNow()
	var wg sync.WaitGroup
	var n atomic.Int64
	for range 64 {
		wg.Go(func() {
			for range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				var in sync.WaitGroup
				for range 80 {
					in.Go(func() {
						if stream.Deliver(ctx, "a", nil) == context.DeadlineExceeded {
							n.Add(1)
						}
					})
				}
				in.Wait()
			}
		})
	}
	wg.Wait()
	used := heapNow() - before
	t.Logf("%d gave up, %d waiting; %d bytes of heap, %d a message", n.Load(), p.Stats()[0].Waiting, used, used/p.Stats()[0].Waiting)
	if used > 6*(1<<20) {
		t.Errorf("an outbox of 1 MiB takes %d", used)
	}
	runtime.KeepAlive(conns)
	shutdown(p, 10*time.Millisecond)
}

// TestMailboxOfLongIDs: a mailbox of 1 KiB takes about that much memory, even with long
// ids.
func TestMailboxOfLongIDs(t *testing.T) {
	p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<10))
	before := heapNow()
	for i := range 500 {
		add(t, stream, fmt.Sprintf("%d%s", i, strings.Repeat("x", 100_000)), "y")
	}
	used := heapNow() - before
	if used > 2<<20 {
		t.Errorf("a mailbox of 1 KiB takes %d for %+v", used, p.Stats()[0].Waiting)
	}
	runtime.KeepAlive(conns)
}

// blocked is a slog.Handler that blocks.
type blockedLog struct{ hold chan bool }

func (b blockedLog) Enabled(context.Context, slog.Level) bool { return true }

func (b blockedLog) Handle(context.Context, slog.Record) error { <-b.hold; return nil }

func (b blockedLog) WithAttrs([]slog.Attr) slog.Handler { return b }

func (b blockedLog) WithGroup(string) slog.Handler { return b }

// TestBlockedLoggerTakesNoMemory: a logger that blocks takes no memory, however many
// connections come and go.
func TestBlockedLoggerTakesNoMemory(t *testing.T) {
	b := blockedLog{make(chan bool)}
	p := gcpool.NewPool(gcpool.WithLogger(slog.New(b)), gcpool.WithBuffer(10))
	p.Register(name)
	p.Start()
	c := p.GetConn(name)
	before, running := heapNow(), runtime.NumGoroutine()
	conn, _ := net.Pipe()
	for range 200_000 {
		c.Add("a", conn)
		c.Del("a")
	}
	eventually(t, "closed", func() bool { return runtime.NumGoroutine() < running+20 }) // after 200,000 closes
	if used := heapNow() - before; used > 12<<20 {
		t.Errorf("waiting log lines take %d bytes", used)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := p.GetStream(name).AddContext(ctx, "b", []byte("x")); err != nil {
		t.Errorf("Add while the logger blocks: %v", err)
	}
	close(b.hold)
	shutdown(p, 10*time.Millisecond)
}

// TestAddContextTakesRoomThatThereIs: AddContext uses room that has become free, even if the
// peer has stopped reading since.
func TestAddContextTakesRoomThatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithOutbox(1000))
		peer := pipe(t, conns, "a")
		add(t, stream, "a", strings.Repeat("1", 199)+"")
		synctest.Wait()
		add(t, stream, "a", strings.Repeat("2", 801))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		go func() {
			time.Sleep(50 * time.Millisecond)
			io.ReadFull(peer, make([]byte, 200)) // reads nothing after that
		}()
		start := time.Now()
		err := stream.AddContext(ctx, "a", make([]byte, 100))
		if err != nil {
			t.Errorf("Add of 100 bytes after %v: %v, though 199 bytes have been free for 50 ms", time.Since(start), err)
		}
		shutdown(p, time.Millisecond)
	})
}

// TestReportsTakeWhatTheOutboxTook: reports that wait for a slow hook take about as much memory
// as their messages took in the outbox.
func TestReportsTakeWhatTheOutboxTook(t *testing.T) {
	hold := make(chan bool)
	p, conns, stream := started(t, gcpool.WithBuffer(1), gcpool.WithWriteTimeout(time.Minute), gcpool.WithUndelivered(func(gcpool.Undelivered) { <-hold }))
	before := heapNow()
	const ids = 8
	for i := range ids {
		id := string(rune('a' + i))
		pipe(t, conns, id)
		for range 200_000 {
			stream.Add(id, nil)
		}
	}
	filled := heapNow() - before
	for i := range ids {
		conns.Del(string(rune('a' + i)))
	}
	eventually(t, fmt.Sprintf("what took %d in outboxes takes no more in reports", filled), func() bool {
		return heapNow()-before <= 3*ids<<20
	})
	runtime.KeepAlive(conns)
	close(hold)
	shutdown(p, time.Second)
}

// TestDeliversLeaveTheRoomThatTheyTook: a Deliver frees the room that it took, whatever its
// outcome. This outbox has room for about 20 Delivers. No simulated time passes, so the outbox
// does not change in between.
func TestDeliversLeaveTheRoomThatTheyTook(t *testing.T) {
	for what, reads := range map[string]bool{"written": true, "deleted": false} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, conns, stream := started(t, gcpool.WithOutbox(64))
				peer := pipe(t, conns, "a")
				for range 100 {
					if reads {
						go peer.Read(make([]byte, 64))
						if err := stream.Deliver(t.Context(), "a", []byte("hi")); err != nil {
							t.Fatal(err)
						}
						continue
					}
					outcome := make(chan error)
					go func() { outcome <- stream.Deliver(t.Context(), "a", []byte("hi")) }()
					synctest.Wait()
					conns.Del("a")
					peer.Close()
					if err := <-outcome; !errors.Is(err, gcpool.ErrDeleted) {
						t.Fatal(err)
					}
					peer = pipe(t, conns, "a")
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				if err := stream.AddContext(ctx, "a", []byte("hi")); err != nil {
					t.Errorf("there is no room: %v", err)
				}
			})
		})
	}
}
