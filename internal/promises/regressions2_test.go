package promises

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
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

// TestShutdownDoesNotWaitForTLS: its close alert waits for five seconds.
func TestShutdownDoesNotWaitForTLS(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		p, c, s := started(t)
		h := websocket.Handler(func(ws *websocket.Conn) {
			c.Add("a", ws)
			defer c.Del("a")
			io.Copy(io.Discard, ws)
		})
		cert := httptest.NewUnstartedServer(nil)
		cert.StartTLS() // for its certificate only
		defer cert.Close()
		m := newMemory()
		srv := &http.Server{Handler: wrap.around(h)}
		go srv.Serve(tls.NewListener(m, cert.TLS))
		defer srv.Close()
		ours, theirs := net.Pipe()
		m.conns <- theirs
		conn := tls.Client(ours, &tls.Config{InsecureSkipVerify: true})
		config, _ := websocket.NewConfig("wss://x", "https://x")
		if _, err := websocket.NewClient(config, conn); err != nil {
			t.Fatal(err)
		}
		eventually(t, "joined", func() bool { return c.Len() == 1 })
		s.Add("a", []byte("the peer does not read"))
		time.Sleep(50 * time.Millisecond)
		start := time.Now()
		err := shutdown(p, 100*time.Millisecond)
		t.Log(err, time.Since(start))
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		for _, g := range strings.Split(stacks, "\n\n") {
			if strings.Contains(g, "outbox.(*Group).spawn") {
				t.Errorf("a goroutine of the pool runs after Shutdown:\n%s", g)
			}
		}
	})
}

// TestLongHandshakeResponseIsNoFrame: whatever bytes the second part of it begins with.
func TestLongHandshakeResponseIsNoFrame(t *testing.T) {
	p, c, s := started(t)
	_ = p
	in := make(chan bool, 1)
	h := websocket.Server{
		Handshake: func(config *websocket.Config, req *http.Request) error {
			config.Header = http.Header{"X-Name": {strings.Repeat("é", 250)}}
			return nil
		},
		Handler: func(ws *websocket.Conn) {
			c.Add("a", ws)
			in <- true
			io.Copy(io.Discard, ws)
		},
	}
	both(t, func(t *testing.T, wrap wrapper) {
		ws := dial(t, serve(t, wrap, h), "")
		<-in
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		go io.Copy(io.Discard, ws)
		if err := s.Deliver(ctx, "a", []byte("x")); err != nil {
			t.Error(err)
		}
	})
}

// TestHandshakeCannotBeUsedToFillMemory: a route that streams gets an error from Write.
func TestHandshakeCannotBeUsedToFillMemory(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		ended := make(chan bool)
		var size atomic.Int64
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // events, as long as the client listens
			defer close(ended)
			for r.Context().Err() == nil && size.Load() < 1<<30 {
				n, err := w.Write(make([]byte, 1<<20))
				if err != nil {
					return
				}
				size.Add(int64(n))
				time.Sleep(10 * time.Millisecond)
			}
		})
		conn, err := net.Dial("tcp", serve(t, wrap, h))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		time.Sleep(100 * time.Millisecond)
		conn.Close()
		select {
		case <-ended:
		case <-time.After(3 * time.Second):
			t.Errorf("the client is gone, the handler runs on; %d MB have gathered", size.Load()>>20)
			size.Store(1 << 30)
			<-ended
		}
	})
}

// TestLargeWriteOfTheApplicationIsProgress: the pool waits behind it for as long as the peer reads.
func TestLargeWriteOfTheApplicationIsProgress(t *testing.T) {
	_, c, s := started(t, gcpool.WithWriteTimeout(500*time.Millisecond), gcpool.WithHeartbeat(0))
	raw, _ := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		c.Add("a", ws)
		go ws.Write(make([]byte, 1<<20))
		io.Copy(io.Discard, ws)
	}))("")
	eventually(t, "joined", func() bool { return c.Len() == 1 })
	time.Sleep(100 * time.Millisecond)
	add(t, s, "a", "hello")
	buf := make([]byte, 64<<10)
	for i := range 16 { // 64 KiB every 100 ms: slow, and reading
		if _, err := io.ReadFull(raw, buf); err != nil {
			t.Fatalf("a peer that reads all the time, after %d ms: %v", i*100, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

type panicky struct {
	net.Conn
}

func (p panicky) Write(b []byte) (int, error) {
	p.Conn.Write(b)
	panic("after the bytes went")
}

// TestConnectionThatPanicsAfterAWriteIsNotWrittenAgain: its message may be with the peer.
func TestConnectionThatPanicsAfterAWriteIsNotWrittenAgain(t *testing.T) {
	_, c, s := started(t, gcpool.WithMailbox(time.Hour, 1000))
	ours, peer := net.Pipe()
	c.Add("a", panicky{ours})
	got := make(chan string, 1)
	go func() { l, _ := bufio.NewReader(peer).ReadString('\n'); got <- l }()
	add(t, s, "a", "once")
	first := <-got
	eventually(t, "gone", func() bool { return c.Len() == 0 })
	second := pipe(t, c, "a")
	second.SetReadDeadline(time.Now().Add(time.Second))
	if l, err := bufio.NewReader(second).ReadString('\n'); err == nil {
		t.Errorf("delivered twice: %q and %q", first, l)
	}
}

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

// TestShutdownDoesNotWaitForAConnectionsDeadline: a connection may block wherever it likes.
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
	case <-time.After(3 * time.Second):
		t.Error("Shutdown hangs past its context in SetWriteDeadline")
	}
}

// TestHookMayAddAConnection: even when too many reports wait.
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
		synctest.Wait() // else the race detector sees no order here
		if returned == 0 {
			t.Errorf("ConnPool.Add, called by a hook, has hung for an hour (%d calls)", called)
		}
	})
}

type bomb struct {
	net.Conn
	on *atomic.Bool
}

func (b bomb) Write(p []byte) (int, error) {
	if b.on.Load() {
		panic("bomb")
	}
	return b.Conn.Write(p)
}

// TestPanicUnderUpgradeEndsTheConnection: and leaves no lock behind.
func TestPanicUnderUpgradeEndsTheConnection(t *testing.T) {
	p, c, _ := started(t)
	m := newMemory()
	in := make(chan bool, 1)
	on := new(atomic.Bool)
	srv := &http.Server{Handler: gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
		c.Add("a", ws)
		on.Store(true)
		defer func() { recover(); in <- true; c.Del("a") }()
		ws.Write([]byte("x"))
	}))}
	go srv.Serve(m)
	defer srv.Close()
	a, b := net.Pipe()
	m.conns <- bomb{b, on}
	config, _ := websocket.NewConfig("ws://memory/", "http://memory")
	ws, err := websocket.NewClient(config, a)
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, ws)
	<-in
	if err := shutdown(p, 3*time.Second); err != nil {
		t.Error(err)
	}
}

var _ = errors.Is
