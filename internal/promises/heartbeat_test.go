package promises

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

func TestHeartbeatPingsAnIdleWebSocket(t *testing.T) { both(t, testHeartbeatPingsAnIdleWebSocket) }

func testHeartbeatPingsAnIdleWebSocket(t *testing.T, wrap wrapper) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithHeartbeat(10*time.Second))
		raw, _ := serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("a", ws)
			defer conns.Del("a")
			ws.Read(make([]byte, 1))
		}))("")
		in := bufio.NewReader(raw)
		synctest.Wait()
		start := time.Now()
		var seen []string
		for range 3 {
			op, _, err := frame(in)
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, fmt.Sprintf("%x", op))
			raw.Write([]byte{0x8a, 0x80, 0, 0, 0, 0}) // a pong
			if len(seen) == 2 {
				within(t, "pinged", start, 20*time.Second, 3*time.Second)
				time.Sleep(5 * time.Second)
				add(t, stream, "a", "not idle")
				start = time.Now()
			}
		}
		equal(t, "frames", seen, []string{"89", "89", "81"})
		if op, _, _ := frame(in); op != 0x89 {
			t.Errorf("got frame %x, want a ping", op)
		}
		within(t, "pinged after a message", start, 10*time.Second, 2*time.Second)
	})
}

func TestHeartbeatFindsAStalledPeer(t *testing.T) { both(t, testHeartbeatFindsAStalledPeer) }

func testHeartbeatFindsAStalledPeer(t *testing.T, wrap wrapper) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, _ := started(t, gcpool.WithHeartbeat(10*time.Second))
		serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("a", ws)
			ws.Read(make([]byte, 1))
		}))("")
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if conns.Len() != 0 {
			t.Error("a peer that does not take a ping is still connected")
		}
	})
}

func TestNoHeartbeatWritesNothing(t *testing.T) { both(t, testNoHeartbeatWritesNothing) }

func testNoHeartbeatWritesNothing(t *testing.T, wrap wrapper) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, _ := started(t, gcpool.WithHeartbeat(0))
		raw, _ := serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("a", ws)
			ws.Read(make([]byte, 1))
		}))("")
		raw.SetReadDeadline(time.Now().Add(time.Hour))
		if n, err := raw.Read(make([]byte, 1)); n != 0 {
			t.Errorf("read %d bytes, %v", n, err)
		}
	})
}

func TestUpgradedPeerThatIsSilentForTwoHeartbeatsIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, _ := started(t, gcpool.WithHeartbeat(10*time.Second))
		raw, _ := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("a", ws)
			ws.Read(make([]byte, 1))
		}))("")
		start := time.Now()
		for buf := make([]byte, 100); ; { // reads everything, answers nothing
			if _, err := raw.Read(buf); err != nil {
				break
			}
		}
		within(t, "closed", start, 20*time.Second, 2*time.Second)
		synctest.Wait()
		if conns.Len() != 0 {
			t.Error("a dead peer is still connected")
		}
	})
}

func TestUpgradedPeerThatOnlyReceivesIsNotTakenForDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithHeartbeat(10*time.Second))
		_, ws := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("a", ws)
			ws.Read(make([]byte, 1))
		}))("")
		go io.Copy(io.Discard, ws) // answers pings
		for range 300 {
			time.Sleep(time.Second)
			if err := stream.Deliver(t.Context(), "a", []byte("tick")); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRawConnectionIsNotPinged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t)
		peer := pipe(t, conns, "a")
		peer.SetReadDeadline(time.Now().Add(time.Hour))
		if n, _ := peer.Read(make([]byte, 1)); n != 0 {
			t.Error("something was written to an idle raw connection")
		}
		peer.SetReadDeadline(time.Time{})
		add(t, stream, "a", "still here")
		equal(t, "received", lines(t, bufio.NewReader(peer), 1), []string{"still here"})
		if ids := slices.Collect(keys(conns)); len(ids) != 1 {
			t.Errorf("connected: %q", ids)
		}
	})
}

// TestPushesDoNotKeepThePingAway: a peer that gets steady pushes and sends nothing is still pinged.
func TestPushesDoNotKeepThePingAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, s := started(t, gcpool.WithHeartbeat(4*time.Second))
		h := websocket.Handler(func(ws *websocket.Conn) {
			c.Add("a", ws)
			defer c.Del("a")
			io.Copy(io.Discard, ws)
		})
		_, ws := serveMemory(t, gcpool.Upgrade, h)("")
		go io.Copy(io.Discard, ws) // reads, answers pings, sends nothing else
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

// TestSaturationDoesNotKeepThePingAway: a peer whose outbox is never empty is still pinged. The
// test allows for a busy machine, which may keep the peer from answering for almost two
// heartbeats, and from reading for longer than a full outbox waits.
func TestSaturationDoesNotKeepThePingAway(t *testing.T) {
	t.Parallel()
	const heartbeat = 3 * time.Second
	_, c, s := started(t, gcpool.WithHeartbeat(heartbeat), gcpool.WithOverflow(gcpool.DropNewest))
	addr := serve(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		c.Add("a", ws)
		defer c.Del("a")
		io.Copy(io.Discard, ws)
	}))
	ws := dial(t, addr, "")
	go io.Copy(io.Discard, ws) // reads, answers pings, sends nothing else
	eventually(t, "joined", func() bool { return c.Len() == 1 })
	data := make([]byte, 1000)
	for start := time.Now(); time.Since(start) < 3*heartbeat; {
		s.Add("a", data)
		if c.Len() != 1 {
			t.Fatalf("a live, reading peer was thrown out after %v", time.Since(start))
		}
	}
}

// TestHeartbeatOfAgesRemovesNobody: with the longest possible heartbeat, twice its duration
// would overflow. No peer may be removed for that.
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

// A sticky connection blocks in SetWriteDeadline after it has been closed.
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

// TestOneConnectionStopsNoHeartbeat: a connection that blocks must not stop the heartbeat of
// another, nor cost another goroutine at each beat.
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
		if n := conn.stuck.Load(); n > 2 { // one goroutine checks whether it is closed, one closes it
			t.Errorf("%d goroutines are stuck in a connection, want 2", n)
		}
	})
}

// TestTinyHeartbeat: even with the shortest heartbeat, a peer has time to answer a
// ping.
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

// TestNewConnectionIsPingedAfterAHeartbeat: a new connection gets its first ping one heartbeat
// after it joins, not at the next check of all connections.
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
