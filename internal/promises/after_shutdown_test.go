package promises

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestNothingIsAcceptedAfterShutdown: an Add that begins before Shutdown and ends after it
// returns ErrClosed, and no hook is called after Shutdown.
func TestNothingIsAcceptedAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var called atomic.Int64
		p, _, stream := started(t, gcpool.WithBuffer(1), gcpool.WithUndelivered(func(gcpool.Undelivered) {
			called.Add(1)
			time.Sleep(time.Second)
		}))
		for range 3 { // enough waiting reports to make Add wait for the hook
			add(t, stream, "nobody", "early")
			synctest.Wait()
		}
		ended := make(chan error, 1)
		go func() { ended <- stream.Add("nobody", nil) }()
		synctest.Wait()
		if len(ended) > 0 {
			t.Fatal("the late Add does not wait")
		}
		if err := p.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := called.Load()
		time.Sleep(time.Second)
		if err := <-ended; err != gcpool.ErrClosed || called.Load() != before {
			t.Errorf("an Add that ended after Shutdown: %v; hook calls after Shutdown: %d", err, called.Load()-before)
		}
	})
}

// TestSecondShutdown: a second Shutdown returns the result of the
// first, even if its own context has ended.
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

// TestShutdownLeavesNoCloser: when Shutdown returns, no goroutine of the pool is running, even
// if a Del just before it was still closing a connection whose peer reads nothing.
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
					if strings.Contains(g, "tasks.(*Tasks).Go") && strings.Contains(g, "synctest") {
						t.Errorf("a goroutine of the pool runs after Shutdown:\n%s", g)
					}
				}
				close(hold)
				time.Sleep(5 * time.Second)
			})
		})
	}
}

// accept returns the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 section 1.3).
func accept(key string) string {
	h := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(h[:])
}

// TestShutdownLeavesNoMailboxTimer: Shutdown empties the mailbox and stops its timer, which
// would otherwise keep the pool in memory.
func TestShutdownLeavesNoMailboxTimer(t *testing.T) {
	p := gcpool.NewPool(gcpool.WithMailbox(24*time.Hour, 1000))
	p.Register(name)
	p.Start()
	p.GetStream(name).Add("a", []byte("x"))
	w := weak.Make(p.GetConn(name))
	shutdown(p, time.Second)
	p = nil
	eventually(t, "nothing refers to the pool after Shutdown, such as a timer of 24 h", func() bool {
		runtime.GC()
		return w.Value() == nil
	})
}
