package promises

import (
	"bufio"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestPushesDoNotKeepThePingAway: a peer that is pushed to steadily, and says nothing, is pinged.
func TestPushesDoNotKeepThePingAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, s := started(t, gcpool.WithHeartbeat(4*time.Second))
		h := websocket.Handler(func(ws *websocket.Conn) {
			c.Add("a", ws)
			defer c.Del("a")
			io.Copy(io.Discard, ws)
		})
		_, ws := serveMemory(t, gcpool.Upgrade, h)("")
		go io.Copy(io.Discard, ws) // reads, answers pings, has nothing to say
		synctest.Wait()
		for i := range 60 {
			if c.Len() != 1 {
				t.Fatalf("a live, reading peer was thrown out after %d s", i)
			}
			s.Add("a", []byte("tick"))
			time.Sleep(time.Second)
		}
	})
}

// TestMailboxStaysInBoundsWhenConnectionsEnd: what departing ids leave counts, too.
func TestMailboxStaysInBoundsWhenConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, c, s := started(t, gcpool.WithMailbox(24*time.Hour, 1000), gcpool.WithUndelivered(r.hook))
		for _, id := range []string{"a", "b", "c", "d"} {
			pipe(t, c, id)
			for range 100 {
				s.Add(id, make([]byte, 100))
			}
			synctest.Wait()
			c.Del(id)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := p.Stats()[0]; st.WaitingBytes > 1000 {
			t.Errorf("a mailbox of 1000 bytes holds %d after an hour", st.WaitingBytes)
		}
	})
}

// TestNewConnectionIsNotJudgedByTheOldOnesStall: the overflow policy is for the connection that took nothing.
func TestNewConnectionIsNotJudgedByTheOldOnesStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		_, c, s := started(t, gcpool.WithOutbox(1000), gcpool.WithUndelivered(r.hook))
		pipe(t, c, "a") // never reads
		add(t, s, "a", string(make([]byte, 900)))
		time.Sleep(2 * time.Second) // stalled, well within the write timeout
		add(t, s, "a", string(make([]byte, 90)))
		peer := pipe(t, c, "a") // the user is back
		go io.Copy(io.Discard, peer)
		add(t, s, "a", string(make([]byte, 50)))
		time.Sleep(time.Second)
		if c.Len() != 1 {
			t.Errorf("the new connection was closed for the old one's stall")
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, u := range r.all {
				t.Log(len(u.Data), u.Err)
			}
		}
	})
}

// TestAddWaitsForASlowPresenceHook: else events would pile up without bound.
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

// TestNothingIsAcceptedAfterShutdown: not even by an Add that had begun before.
func TestNothingIsAcceptedAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var called atomic.Int64
		p := gcpool.NewPool(gcpool.WithBuffer(5000), gcpool.WithUndelivered(func(gcpool.Undelivered) { called.Add(1) }))
		p.Register(name)
		s := p.GetStream(name)
		for range 5000 {
			go s.Deliver(context.Background(), "x", nil)
		}
		synctest.Wait()
		ended := make(chan error, 1)
		go func() {
			p.Start()
			ended <- s.Add("late", nil)
		}()
		synctest.Wait()
		if len(ended) > 0 {
			t.Skip("Start's backlog was gone at once")
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

// TestHandlerThatClosesItsConnection before its Del, as many do, leaves the next one alone.
func TestHandlerThatClosesItsConnection(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		_, c, _ := started(t)
		in, out := make(chan bool, 100), make(chan bool, 100)
		h := websocket.Handler(func(ws *websocket.Conn) {
			c.Add("a", ws)
			defer func() { out <- true }()
			defer c.Del("a")
			defer ws.Close() // as many handlers have it
			in <- true
			io.Copy(io.Discard, ws)
		})
		addr := serve(t, wrap, h)
		gone := dial(t, addr, "")
		<-in
		for i := range 20 {
			next := dial(t, addr, "") // takes over; the old handler closes its ws, then calls Del
			<-in
			gone.Close()
			gone = next
			<-out
			if c.Len() != 1 {
				t.Fatalf("reconnect %d was thrown out by the old handler's deferred Del", i)
			}
		}
	})
}

// TestHeartbeatOfAgesRemovesNobody: twice the longest duration overflows.
func TestHeartbeatOfAgesRemovesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := started(t, gcpool.WithHeartbeat(math.MaxInt64))
		pipe(t, c, "a")
		time.Sleep(1500 * time.Millisecond)
		if c.Len() != 1 {
			t.Error("removed")
		}
		time.Sleep(3 * time.Second)
	})
}

// TestHugeBufferIsRefused: a channel of that size would panic.
func TestHugeBufferIsRefused(t *testing.T) {
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("Register panics: %v", v)
		}
	}()
	t.Log(gcpool.NewPool().Register("x", gcpool.WithBuffer(math.MaxInt)))
}

type slice []byte

func (slice) Read([]byte) (int, error)         { return 0, io.EOF }
func (slice) Write(p []byte) (int, error)      { return len(p), nil }
func (slice) Close() error                     { return nil }
func (slice) LocalAddr() net.Addr              { return nil }
func (slice) RemoteAddr() net.Addr             { return nil }
func (slice) SetDeadline(time.Time) error      { return nil }
func (slice) SetReadDeadline(time.Time) error  { return nil }
func (slice) SetWriteDeadline(time.Time) error { return nil }

// TestConnectionWithUncomparableInsides: a type may be comparable and its value not.
func TestConnectionWithUncomparableInsides(t *testing.T) {
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("Add panics: %v", v)
		}
	}()
	_, c, _ := started(t)
	conn := struct{ net.Conn }{slice{}}
	c.Add("a", conn)
	c.Add("a", conn)
}

// TestShutdownLeavesNoMailboxTimer: though the mailbox has been emptied before its time.
func TestShutdownLeavesNoMailboxTimer(t *testing.T) {
	p := gcpool.NewPool(gcpool.WithMailbox(24*time.Hour, 1000))
	p.Register(name)
	p.Start()
	p.GetStream(name).Add("a", []byte("x"))
	w := weak.Make(p.GetConn(name))
	shutdown(p, time.Second)
	p = nil
	for range 20 {
		runtime.GC()
		time.Sleep(100 * time.Millisecond)
	}
	if w.Value() != nil {
		t.Error("the pool is still referred to, by a timer of 24 h, after Shutdown")
	}
}

// TestUpgradeInsideUpgradeIsOne: the inner one has nothing to do.
func TestUpgradeInsideUpgradeIsOne(t *testing.T) {
	h := gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) { io.Copy(ws, ws) }))
	mux := http.NewServeMux()
	mux.Handle("/", h)
	ws := dial(t, serve(t, gcpool.Upgrade, mux), "")
	ws.Write([]byte("x\n"))
	if l, err := bufio.NewReader(ws).ReadString('\n'); err != nil {
		t.Error(l, err)
	}
}
