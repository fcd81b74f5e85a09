package promises

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// No goroutine of the pool's is left when Shutdown returns, though a Del just
// before is still saying goodbye to a peer that takes nothing.
func TestShutdownLeavesNoCloser(t *testing.T) {
	for _, kind := range []string{"plain", "upgraded", "client"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, conns, _ := started(t)
				hold := make(chan bool)
				if kind == "client" {
					ours, theirs := net.Pipe()
					go func() {
						req, _ := http.ReadRequest(bufio.NewReader(theirs))
						_ = req
						key := req.Header.Get("Sec-Websocket-Key")
						fmt.Fprintf(theirs, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept(key))
					}()
					config, _ := websocket.NewConfig("ws://memory/", "http://memory")
					ws, err := websocket.NewClient(config, ours)
					if err != nil {
						t.Fatal(err)
					}
					conns.Add("a", ws)
				} else {
					wrap := map[string]wrapper{"upgraded": gcpool.Upgrade}[kind]
					serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
						conns.Add("a", ws)
						<-hold
					}))("")
				}
				synctest.Wait()
				conns.Del("a")
				synctest.Wait()
				t.Log(shutdown(p, 10*time.Millisecond))
				buf := make([]byte, 1<<20)
				for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
					if strings.Contains(g, "outbox.(*Group).spawn") && strings.Contains(g, "synctest") {
						t.Errorf("a goroutine of the pool runs after Shutdown:\n%s", g)
					}
				}
				close(hold)
				time.Sleep(5 * time.Second)
			})
		})
	}
}

// The error of a connection is the application's code.
type nosy struct{ ask func() }

func (n nosy) Error() string { n.ask(); return "nosy" }

func (n nosy) Unwrap() error { n.ask(); return nil }

func TestErrorThatCallsThePool(t *testing.T) {
	p, conns, stream := started(t)
	err := nosy{func() { conns.Get("a", func(net.Conn) error { return nil }) }}
	for _, fail := range []func(){
		func() { stream.Deliver(t.Context(), "a", []byte("x")) },
		func() { conns.Get("a", func(net.Conn) error { stream.Add("a", []byte("x")); return err }) },
	} {
		f := newFaulty()
		f.write = func([]byte) (int, error) { time.Sleep(100 * time.Millisecond); return 0, err }
		conns.Add("a", f)
		done := make(chan bool)
		go func() { fail(); close(done) }()
		select {
		case <-done:
		case <-time.After(3 * time.Second):
			t.Fatal("the pool holds a lock while it asks an error what it is")
		}
	}
	eventually(t, "settled", func() bool { return p.Stats()[0].Waiting == 0 })
}

// Shutdown ends with its context, whatever waits since before Start.
func TestShutdownOfAFullStream(t *testing.T) {
	const ids, broadcasts = 500, 2_000
	p := gcpool.NewPool(gcpool.WithLogger(slog.New(slog.DiscardHandler)), gcpool.WithBuffer(broadcasts))
	p.Register(name)
	conns, stream := p.GetConn(name), p.GetStream(name)
	for i := range ids {
		ours, peer := net.Pipe()
		go io.Copy(io.Discard, peer)
		conns.Add(fmt.Sprint(i), ours)
	}
	for range broadcasts {
		if err := stream.Broadcast(make([]byte, 50)); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	err := shutdown(p, 50*time.Millisecond)
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("Shutdown with 50 ms took %v: %v", d, err)
	}
	eventually(t, "settled", func() bool { return p.Stats()[0].Waiting == 0 })
}

type slowCluster struct{ hold chan bool }

func (slowCluster) Changed(pool, id string) {}

func (slowCluster) Forward(pool, id string, batch [][]byte, done func([]error)) {
	done(make([]error, len(batch)))
}

func (s slowCluster) Broadcast(pool string, data []byte) error { <-s.hold; return nil }

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

// Receive after Shutdown.
func TestReceiveAfterShutdown(t *testing.T) {
	p, _, s := started(t)
	shutdown(p, time.Second)
	for _, id := range []string{""} {
		if taken, err := s.Receive(id, [][]byte{[]byte("x")}, func([]error) {}); taken != 0 || err != gcpool.ErrClosed {
			t.Errorf("Receive(%q) after Shutdown: %d, %v", id, taken, err)
		}
	}
}

// The largest outbox is one.
func TestLargestOutboxAndACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, stream := started(t, gcpool.WithOutbox(math.MaxInt))
		p.SetCluster(slowCluster{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := stream.Deliver(ctx, "a", []byte("x")); err != nil {
			t.Error(err)
		}
	})
}

// SetCluster raced
type pausing struct {
	slowCluster
	in, hold chan bool
}

func (p pausing) Changed(pool, id string) {
	select {
	case p.in <- true:
		<-p.hold
	default:
	}
}

func TestSetClusterRaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := gcpool.NewPool(gcpool.WithLogger(slog.New(slog.DiscardHandler)))
		for i := range 8 {
			p.Register(fmt.Sprint(i))
			ours, _ := net.Pipe()
			p.GetConn(fmt.Sprint(i)).Add("x", ours)
		}
		p.Start()
		c := pausing{in: make(chan bool, 1), hold: make(chan bool)}
		done := make(chan bool)
		go func() { p.SetCluster(c); close(done) }()
		<-c.in
		synctest.Wait()
		p.SetCluster(nil)
		close(c.hold)
		<-done
		for i := range 8 {
			if err := p.GetStream(fmt.Sprint(i)).Deliver(t.Context(), "elsewhere", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
				t.Errorf("pool %d forwards to a cluster that has been left: %v", i, err)
			}
		}
		shutdown(p, time.Second)
	})
}

// accept is what a server answers to a Sec-WebSocket-Key (RFC 6455 section 1.3).
func accept(key string) string {
	h := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(h[:])
}

// slowBus is a cluster whose Broadcast takes its time.
type slowBus struct {
	stuck
	d time.Duration
}

func (b slowBus) Broadcast(string, []byte) error { time.Sleep(b.d); return nil }

// TestBroadcastHereFirst: the ids with room get it at once, however slow the cluster.
func TestBroadcastHereFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		p.SetCluster(slowBus{d: 20 * time.Second})
		peer, start := bufio.NewReader(pipe(t, conns, "a")), time.Now()
		done := make(chan error, 1)
		go func() { done <- stream.Broadcast([]byte("all")) }()
		equal(t, "received", lines(t, peer, 1), []string{"all"})
		if d := time.Since(start); d > 0 {
			t.Errorf("received after %v", d)
		}
		if err := <-done; err != nil || time.Since(start) != 20*time.Second {
			t.Errorf("Broadcast: %v after %v", err, time.Since(start))
		}
	})
}

// slowCloser takes a moment to close, as a multiplexed connection may.
type slowCloser struct{ net.Conn }

func (s slowCloser) Close() error {
	time.Sleep(100 * time.Millisecond)
	return s.Conn.Close()
}

// TestShutdownWaitsForBothCloses: the one that was under way, and that which cuts it.
func TestShutdownWaitsForBothCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, _ := started(t)
		ours, _ := net.Pipe()
		conns.Add("a", slowCloser{ours})
		conns.Del("a")
		synctest.Wait()
		shutdown(p, 50*time.Millisecond)
		buf := make([]byte, 1<<20)
		all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		_, bubble, _ := strings.Cut(all[0], "synctest ")
		bubble, _, _ = strings.Cut(bubble, "]")
		for _, g := range all {
			if strings.Contains(g, bubble+"]") && strings.Contains(g, "gcpool/internal/transport.") {
				t.Errorf("a goroutine of the pool runs after Shutdown:\n%s", g)
			}
		}
		time.Sleep(time.Second)
	})
}
