package promises

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
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

func TestHookThatBlocksHoldsUpOnlyTheReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		var r reports
		p, conns, stream := started(t, gcpool.WithBuffer(3), gcpool.WithUndelivered(func(u gcpool.Undelivered) {
			<-free
			r.hook(u)
		}))
		in := bufio.NewReader(pipe(t, conns, "here"))
		for i := range 4 { // one is in the hook, three wait
			add(t, stream, "away", fmt.Sprint(i))
			synctest.Wait()
		}
		add(t, stream, "here", "x")
		equal(t, "delivered", lines(t, in, 1), []string{"x"})
		synctest.Wait()
		if s := p.Stats()[0]; s.Waiting != 3 || s.Undelivered != 1 {
			t.Errorf("reports that have not been made are not counted as waiting: %+v", s)
		}
		add(t, stream, "away", "4")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := stream.AddContext(ctx, "here", []byte("y")); err != context.DeadlineExceeded {
			t.Errorf("Add does not wait for more reports than the buffer holds: %v", err)
		}
		close(free)
		add(t, stream, "here", "z")
		equal(t, "delivered", lines(t, in, 1), []string{"z"})
		synctest.Wait()
		equal(t, "reported", r.take(t, gcpool.ErrNotConnected), []string{"away 0", "away 1", "away 2", "away 3", "away 4"})
	})
}

func TestHookThatPanicsOrExitsIsSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var r reports
		p, _, stream := started(t, gcpool.WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
			gcpool.WithUndelivered(func(u gcpool.Undelivered) {
				r.hook(u)
				switch string(u.Data) {
				case "0":
					panic("a bug in the hook")
				case "1":
					runtime.Goexit()
				}
			}))
		for i := range 3 {
			add(t, stream, "a\r\n\x1b[31m", fmt.Sprint(i))
		}
		synctest.Wait()
		if got := r.take(t, gcpool.ErrNotConnected); len(got) != 3 {
			t.Errorf("reported %q", got)
		}
		if got := log.String(); !strings.Contains(got, "a bug in the hook") || strings.ContainsAny(got, "\r\x1b") ||
			strings.Count(got, "\n") != 1 || !strings.Contains(got, "hooks_test.go") { // where it panicked
			t.Errorf("log: %q", got)
		}
		settled(t, p)
	})
}

func TestHookMayCallThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *gcpool.Pool
		var once sync.Once
		registered := make(chan struct{})
		p, conns, stream := started(t, gcpool.WithUndelivered(func(u gcpool.Undelivered) {
			<-registered
			once.Do(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				p.GetConn(name).Del("b")
				p.Stats()
				p.GetStream(name).AddContext(ctx, "dead letters", fmt.Append(nil, u.ID, ": ", u.Err))
			})
		}))
		close(registered)
		pipe(t, conns, "b")
		in := bufio.NewReader(pipe(t, conns, "dead letters"))
		add(t, stream, "a", "x")
		equal(t, "dead letters", lines(t, in, 1), []string{"a: gcpool: not connected"})
		if conns.Len() != 1 {
			t.Error("the hook's Del did nothing")
		}
	})
}

func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var events []string
		p, conns, _ := started(t, gcpool.WithPresence(func(pool, id string, connected bool) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, fmt.Sprint(pool, " ", id, " ", connected))
			if id == "b" {
				panic("a bug in the hook")
			}
		}))
		pipe(t, conns, "a")
		pipe(t, conns, "b")
		pipe(t, conns, "a") // a takeover is no presence event
		conns.Del("a")
		conns.Get("b", func(c net.Conn) error { return errors.New("gone") })
		synctest.Wait()
		equal(t, "events", events, []string{"default a true", "default b true", "default a false", "default b false"})
		if s := p.Stats()[0]; s.Connections != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestDeliverIsToldOnceAndTheHookNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithUndelivered(r.hook))
		if err := stream.Deliver(t.Context(), "a", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
			t.Errorf("Deliver to nobody: %v", err)
		}
		pipe(t, conns, "a")
		result := make(chan error)
		go func() { result <- stream.Deliver(t.Context(), "a", []byte("in flight")) }()
		synctest.Wait()
		add(t, stream, "a", "waits")
		go func() { result <- stream.Deliver(t.Context(), "a", []byte("waits, too")) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := stream.Deliver(ctx, "a", []byte("given up")); err != context.DeadlineExceeded {
			t.Errorf("Deliver whose context ended: %v", err)
		}
		conns.Del("a")
		for range 2 {
			if err := <-result; !errors.Is(err, gcpool.ErrDeleted) {
				t.Errorf("Deliver: %v, want ErrDeleted", err)
			}
		}
		synctest.Wait()
		equal(t, "reported", r.take(t, gcpool.ErrDeleted), []string{"a waits", "a given up"})
		if s := settled(t, p); s.Undelivered != 5 {
			t.Errorf("%+v", s)
		}
	})
}

func TestLogsQuoteIDsAndNeverPayloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
			Level: slog.LevelDebug,
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { // a slog.Handler need not quote
				if id := a.Value.String(); a.Key == "id" && (id[0] != '"' && id != "plain" && id[:4] != "long" || strings.ContainsAny(id, "\r\n\x1b") || strings.Contains(id, "\xff")) {
					t.Errorf("the id is logged as %q", id)
				}
				return a
			},
		}))
		_, conns, stream := started(t, gcpool.WithLogger(logger), gcpool.WithWriteTimeout(time.Second))
		for _, id := range []string{"plain", "a\r\nlevel=ERROR", "\x1b[2J", "\xff\xfe", strings.Repeat("long", 1<<18)} {
			pipe(t, conns, id)
			add(t, stream, id, "secret payload")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		got := log.String()
		if n := strings.Count(got, "\n"); n != 10 || len(got) > 5000 {
			t.Errorf("%d lines, %d bytes for five joins and leaves", n, len(got))
		}
		if strings.Contains(got, "secret") || strings.ContainsAny(got, "\r\x1b") || strings.Contains(got, "\xff") {
			t.Errorf("log: %q", got)
		}
		if strings.Count(got, "level=WARN") != 5 || !strings.Contains(got, "plain") {
			t.Errorf("log: %s", got)
		}
	})
}

// TestAddWaitsForASlowPresenceHook: Add waits for a slow hook;
// otherwise events would pile up without limit.
func TestAddWaitsForASlowPresenceHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		var n atomic.Int64
		_, c, _ := started(t, gcpool.WithBuffer(10), gcpool.WithPresence(func(string, string, bool) { <-free; n.Add(1) }))
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 10000 {
				a, _ := net.Pipe()
				if c.Add("a", a) != nil {
					return
				}
				c.Del("a")
			}
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Error("10,000 joins never waited for a hook that is stuck")
		default:
		}
		close(free)
		synctest.Wait()
		t.Log(n.Load(), "events had piled up")
	})
}

// TestHookMayAddAConnection: a hook may call ConnPool.Add even when the queue of
// reports is full.
func TestHookMayAddAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *gcpool.ConnPool
		called, returned := 0, 0
		hold := make(chan bool)
		_, c, s := started(t, gcpool.WithBuffer(5), gcpool.WithUndelivered(func(u gcpool.Undelivered) {
			<-hold
			called++
			if called == 1 {
				a, _ := net.Pipe()
				c.Add("b", a)
				returned++
			}
		}), gcpool.WithPresence(func(string, string, bool) {}))
		a, _ := net.Pipe()
		c.Add("a", a)
		for range 20 {
			add(t, s, "a", "x")
		}
		c.Del("a")
		close(hold)
		time.Sleep(time.Hour)
		synctest.Wait() // without this, the race detector sees no order here
		if returned == 0 {
			t.Errorf("ConnPool.Add, called by a hook, has hung for an hour (%d calls)", called)
		}
	})
}
