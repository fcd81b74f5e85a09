package promises

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// balky is a logger that panics when it is asked.
type balky struct{ slog.Handler }

func (balky) Enabled(context.Context, slog.Level) bool { panic("no") }

// TestOddInputPanicsNowhere: neither a logger nor a Pool that nobody has made.
func TestOddInputPanicsNowhere(t *testing.T) {
	for _, l := range []*slog.Logger{new(slog.Logger), slog.New(balky{slog.DiscardHandler})} {
		_, c, _ := started(t, gcpool.WithLogger(l))
		pipe(t, c, "alice")
	}
	for what, p := range map[string]*gcpool.Pool{"nil": nil, "zero": new(gcpool.Pool)} {
		p.Start()
		if p.GetConn("x") != nil || p.GetStream("x") != nil || len(p.Stats()) != 0 {
			t.Errorf("a %s pool has something", what)
		}
		for _, err := range []error{p.Register("x"), p.SetCluster(nil), shutdown(p, time.Second)} {
			if !errors.Is(err, gcpool.ErrInvalid) {
				t.Errorf("a %s pool: %v", what, err)
			}
		}
	}
}

// TestSecondShutdown returns what the first did, whatever its own context.
func TestSecondShutdown(t *testing.T) {
	p, _, _ := started(t)
	if err := shutdown(p, time.Second); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		if err := p.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// waiting is a connection whose deadlines wait for its Write, which Close ends.
type waiting struct {
	net.Conn
	mu  sync.Mutex
	end chan struct{}
}

func (w *waiting) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	<-w.end
	return 0, net.ErrClosed
}

func (w *waiting) SetWriteDeadline(time.Time) error { w.mu.Lock(); defer w.mu.Unlock(); return nil }
func (w *waiting) SetDeadline(time.Time) error      { return w.SetWriteDeadline(time.Time{}) }
func (w *waiting) Close() error                     { close(w.end); return nil }

// TestCloseDoesNotWaitForADeadline that waits for the write which Close is to end.
func TestCloseDoesNotWaitForADeadline(t *testing.T) {
	_, c, s := started(t, gcpool.WithWriteTimeout(100*time.Millisecond))
	conn := &waiting{end: make(chan struct{})}
	c.Add("alice", conn)
	add(t, s, "alice", "hi")
	select {
	case <-conn.end:
	case <-time.After(20 * time.Second):
		t.Fatal("Close was never called")
	}
}

// A mute is a connection that does not tell whether it has been closed.
type mute struct{ net.Conn }

func (mute) SetWriteDeadline(time.Time) error { return nil }
func (mute) SetDeadline(time.Time) error      { return nil }

// TestShutdownSeesThatAnUpgradedHandlerHasReturned, also where its connection does
// not tell.
func TestShutdownSeesThatAnUpgradedHandlerHasReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c, _ := started(t)
		l := newMemory()
		srv := &http.Server{Handler: gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
			c.Add("alice", ws)
			io.Copy(io.Discard, ws)
		}))}
		go srv.Serve(l)
		defer srv.Close()
		ours, theirs := net.Pipe()
		l.conns <- mute{theirs}
		config, _ := websocket.NewConfig("ws://memory/", "http://memory")
		ws, err := websocket.NewClient(config, ours)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			io.Copy(io.Discard, ws)
			time.Sleep(2 * time.Second)
			ws.Close()
		}()
		synctest.Wait()
		start := time.Now()
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		within(t, "Shutdown", start, 2*time.Second, time.Second)
	})
}

// A sticky connection has a SetWriteDeadline that blocks once it has been closed.
type sticky struct {
	net.Conn
	closed atomic.Bool
	stuck  atomic.Int32
	free   chan struct{}
}

func (s *sticky) Close() error { s.closed.Store(true); return s.Conn.Close() }

func (s *sticky) SetWriteDeadline(t time.Time) error {
	if s.closed.Load() {
		s.stuck.Add(1)
		<-s.free
	}
	return s.Conn.SetWriteDeadline(t)
}

// TestOneConnectionStopsNoHeartbeat but its own, and not a goroutine more with each look.
func TestOneConnectionStopsNoHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := started(t, gcpool.WithHeartbeat(4*time.Second))
		free := make(chan struct{})
		defer close(free)
		l := newMemory()
		srv := &http.Server{Handler: websocket.Handler(func(ws *websocket.Conn) { c.Add("odd", ws) })}
		go srv.Serve(l)
		defer srv.Close()
		ours, theirs := net.Pipe()
		conn := &sticky{Conn: theirs, free: free}
		l.conns <- conn
		config, _ := websocket.NewConfig("ws://memory/", "http://memory")
		odd, err := websocket.NewClient(config, ours)
		if err != nil {
			t.Fatal(err)
		}
		go io.Copy(io.Discard, odd)
		synctest.Wait()
		raw, _ := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			c.Add("silent", ws)
			io.Copy(io.Discard, ws)
		}))("")
		start := time.Now()
		io.Copy(io.Discard, raw)
		within(t, "a silent peer was closed", start, 8*time.Second, 2*time.Second)
		if n := conn.stuck.Load(); n > 2 { // one that asks, and one that closes
			t.Errorf("%d goroutines are stuck in a connection, want 2", n)
		}
	})
}

// TestTinyHeartbeat gives a peer the time to answer.
func TestTinyHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := started(t, gcpool.WithHeartbeat(1))
		_, ws := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			c.Add("alice", ws)
			io.Copy(io.Discard, ws)
		}))("")
		go io.Copy(io.Discard, ws) // answers pings
		time.Sleep(time.Second)
		if c.Len() != 1 {
			t.Error("a peer that answers is closed")
		}
	})
}

// TestNewConnectionIsPingedAfterAHeartbeat, and not at the first look.
func TestNewConnectionIsPingedAfterAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := started(t, gcpool.WithHeartbeat(10*time.Second))
		pipe(t, c, "another")
		time.Sleep(time.Minute)
		raw, _ := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			c.Add("alice", ws)
			io.Copy(io.Discard, ws)
		}))("")
		start := time.Now()
		raw.Read(make([]byte, 1))
		within(t, "the first ping", start, 10*time.Second, 3*time.Second)
	})
}

// A heedless connection takes neither deadline nor Close.
type heedless struct {
	net.Conn
	free chan struct{}
}

func (d *heedless) Write(p []byte) (int, error)    { <-d.free; return len(p), nil }
func (*heedless) Close() error                     { return nil }
func (*heedless) SetDeadline(time.Time) error      { return nil }
func (*heedless) SetWriteDeadline(time.Time) error { return nil }

// TestShutdownSettlesWhatNobodyCan end in time: when it returns nothing waits.
func TestShutdownSettlesWhatNobodyCan(t *testing.T) {
	p, conns, stream := started(t)
	free := make(chan struct{})
	defer close(free)
	const many = 20_000
	for i := range many {
		ours, _ := net.Pipe()
		conns.Add(fmt.Sprint(i), &heedless{ours, free})
		add(t, stream, fmt.Sprint(i), "hi")
	}
	eventually(t, "all are stuck", func() bool { return p.Stats()[0].Stalled == many })
	if err := shutdown(p, 10*time.Millisecond); err != context.DeadlineExceeded {
		t.Error(err)
	}
	if s := p.Stats()[0]; s.Waiting != 0 {
		t.Errorf("%d messages have no outcome", s.Waiting)
	}
}

// A calling context asks the pool when it is asked whether it has ended.
type calling struct {
	context.Context
	ask func()
}

func (c calling) Err() error { c.ask(); return c.Context.Err() }

// TestContextThatCallsThePool: it is the application's, so no lock is held.
func TestContextThatCallsThePool(t *testing.T) {
	_, c, _ := started(t, gcpool.WithHeartbeat(10*time.Millisecond))
	asked := make(chan bool, 100)
	handler := websocket.Handler(func(ws *websocket.Conn) {
		c.Add("alice", ws)
		io.Copy(io.Discard, ws)
	})
	addr := serve(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(calling{r.Context(), func() {
			c.Since("alice")
			select {
			case asked <- true:
			default:
			}
		}}))
	}))
	dial(t, addr, "")
	for range 3 {
		select {
		case <-asked:
		case <-time.After(20 * time.Second):
			t.Fatal("it waits for a lock, or nobody asks")
		}
	}
}
