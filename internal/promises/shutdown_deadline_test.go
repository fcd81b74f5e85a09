package promises

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

func TestShutdownWithStalledPeersEndsWithItsContext(t *testing.T) {
	both(t, testShutdownWithStalledPeersEndsWithItsContext)
}

func testShutdownWithStalledPeersEndsWithItsContext(t *testing.T, wrap wrapper) {
	undisturbed(t, func() error { return shutdownWithStalledPeers(t, wrap) })
}

// shutdownWithStalledPeers returns an error if Shutdown ends too late.
func shutdownWithStalledPeers(t *testing.T, wrap wrapper) (late error) {
	const peers, size = 10, 8 << 20 // more than the system's buffers hold
	var reported atomic.Int64
	p, conns, stream := started(t, gcpool.WithOutbox(size), gcpool.WithUndelivered(func(u gcpool.Undelivered) {
		if errors.Is(u.Err, gcpool.ErrClosed) && len(u.Data) == size {
			reported.Add(1)
		}
	}))
	addr := serve(t, wrap, verbatim(p, func() {}))
	for i := range peers {
		id := fmt.Sprint(i)
		if i%2 == 0 {
			tcp(t, conns, id)
		} else {
			dial(t, addr, "id="+id)
		}
	}
	eventually(t, "joined", func() bool { return conns.Len() == peers })
	big := make([]byte, size)
	for i := range peers {
		if err := stream.Add(fmt.Sprint(i), big); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	err := shutdown(p, 200*time.Millisecond)
	if took := time.Since(start); took > 500*time.Millisecond {
		late = fmt.Errorf("Shutdown took %v, want at most 300 ms more than its context", took)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if n := reported.Load(); n != peers && late == nil {
		late = fmt.Errorf("%d of %d were reported when Shutdown returned", n, peers)
	}
	eventually(t, "all are reported", func() bool { return reported.Load() == peers })
	if s := settled(t, p); s.Undelivered != peers {
		t.Errorf("%d undelivered, want %d", s.Undelivered, peers)
	}
	if err := stream.Add("0", nil); err != gcpool.ErrClosed {
		t.Errorf("Add after Shutdown: %v", err)
	}
	return late
}

func TestShutdownDeadlineOnSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithUndelivered(r.hook), gcpool.WithMailbox(time.Hour, 1000))
		pipe(t, conns, "stalled")
		for i := range 3 {
			add(t, stream, "stalled", fmt.Sprint(i))
			synctest.Wait()
		}
		add(t, stream, "away", "letter")
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- shutdown(p, 5*time.Second) }()
		synctest.Wait()
		if err := stream.Add("x", nil); err != gcpool.ErrClosed {
			t.Errorf("Add during Shutdown: %v", err)
		}
		if err := conns.Add("x", new(net.TCPConn)); err != gcpool.ErrClosed {
			t.Errorf("ConnPool.Add during Shutdown: %v", err)
		}
		if err := <-done; err != context.DeadlineExceeded {
			t.Errorf("Shutdown: %v", err)
		}
		within(t, "ended", start, 5*time.Second, 300*time.Millisecond)
		equal(t, "undelivered", r.take(t, gcpool.ErrClosed), []string{"away letter", "stalled 0", "stalled 1", "stalled 2"})
		settled(t, p)
	})
}

func TestShutdownWithoutDeadlineEndsThoughNobodyLeaves(t *testing.T) {
	both(t, testShutdownWithoutDeadlineEndsThoughNobodyLeaves)
}

func testShutdownWithoutDeadlineEndsThoughNobodyLeaves(t *testing.T, wrap wrapper) {
	synctest.Test(t, func(t *testing.T) {
		p, _, _ := started(t, gcpool.WithWriteTimeout(7*time.Second))
		raw, _ := serveMemory(t, wrap, verbatim(p, func() {}))("id=a")
		synctest.Wait()
		go func() {
			for buf := make([]byte, 10); ; { // reads, but answers nothing
				if _, err := raw.Read(buf); err != nil {
					return
				}
			}
		}()
		start := time.Now()
		if err := p.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		within(t, "ended", start, 7*time.Second, 100*time.Millisecond)
	})
}

// TestShutdownDoesNotWaitForTLS: closing a TLS connection can take five seconds,
// because it sends an alert first.
func TestShutdownDoesNotWaitForTLS(t *testing.T) {
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS() // only for its certificate
	defer cert.Close()
	both(t, func(t *testing.T, wrap wrapper) {
		synctest.Test(t, func(t *testing.T) { testShutdownDoesNotWaitForTLS(t, wrap, cert.TLS.Clone()) })
	})
}

func testShutdownDoesNotWaitForTLS(t *testing.T, wrap wrapper, config *tls.Config) {
	p, c, s := started(t)
	h := websocket.Handler(func(ws *websocket.Conn) {
		c.Add("a", ws)
		defer c.Del("a")
		io.Copy(io.Discard, ws)
	})
	m := newMemory()
	srv := &http.Server{Handler: wrap.around(h)}
	go srv.Serve(tls.NewListener(m, config))
	defer srv.Close()
	ours, theirs := net.Pipe()
	m.conns <- theirs
	conn := tls.Client(ours, &tls.Config{InsecureSkipVerify: true})
	client, _ := websocket.NewConfig("wss://x", "https://x")
	if _, err := websocket.NewClient(client, conn); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	s.Add("a", []byte("the peer does not read"))
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	t.Log(shutdown(p, 100*time.Millisecond))
	within(t, "Shutdown", start, 100*time.Millisecond, 300*time.Millisecond)
	synctest.Wait()
	buf := make([]byte, 1<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	for _, g := range strings.Split(stacks, "\n\n") {
		if strings.Contains(g, "tasks.(*Tasks).Go") && strings.Contains(g, "synctest") {
			t.Errorf("a goroutine of the pool runs after Shutdown:\n%s", g)
		}
	}
	ours.Close()
	time.Sleep(time.Minute)
}

// A stubborn connection blocks in SetWriteDeadline.
type stubborn struct {
	net.Conn
	block chan bool
	on    *atomic.Bool
}

func (s stubborn) SetWriteDeadline(time.Time) error {
	if s.on.Load() {
		<-s.block
	}
	return nil
}

// TestShutdownDoesNotWaitForAConnectionsDeadline: a connection may
// block in any method, here in SetWriteDeadline.
func TestShutdownDoesNotWaitForAConnectionsDeadline(t *testing.T) {
	p, c, _ := started(t)
	ours, peer := net.Pipe()
	go func() {
		req, err := http.ReadRequest(bufio.NewReader(peer))
		if err != nil {
			return
		}
		_ = req
		io.Copy(io.Discard, peer)
	}()
	conn := stubborn{ours, make(chan bool), new(atomic.Bool)}
	defer close(conn.block)
	m := newMemory()
	in := make(chan bool, 1)
	srv := &http.Server{Handler: websocket.Handler(func(ws *websocket.Conn) {
		c.Add("a", ws)
		in <- true
		io.Copy(io.Discard, ws)
	})}
	go srv.Serve(m)
	defer srv.Close()
	a, b := net.Pipe()
	conn.Conn = b
	m.conns <- conn
	config, _ := websocket.NewConfig("ws://memory/", "http://memory")
	ws, err := websocket.NewClient(config, a)
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, ws)
	<-in
	conn.on.Store(true)
	done := make(chan error, 1)
	go func() { done <- shutdown(p, 100*time.Millisecond) }()
	select {
	case err := <-done:
		t.Log(err)
	case <-time.After(20 * time.Second):
		t.Error("Shutdown hangs past its context in SetWriteDeadline")
	}
}

// TestShutdownSettlesWhatNobodyCan: some writes never end. When Shutdown gives them up, their
// messages must still have an outcome.
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

func TestShutdownBehindAClusterThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := gcpool.NewPool(gcpool.WithLogger(slog.New(slog.DiscardHandler)))
		p.Register(name)
		s := slowCluster{make(chan bool)}
		p.SetCluster(s)
		go p.GetStream(name).Broadcast([]byte("x"))
		p.GetStream(name).Add("a", []byte("x"))
		synctest.Wait()
		start := time.Now()
		time.AfterFunc(time.Minute, func() { close(s.hold) })
		err := shutdown(p, time.Second)
		within(t, fmt.Sprint("Shutdown: ", err), start, time.Second, 300*time.Millisecond)
		settled(t, p)
		time.Sleep(2 * time.Minute)
	})
}
