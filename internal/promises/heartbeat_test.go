package promises

import (
	"bufio"
	"fmt"
	"io"
	"slices"
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
		for buf := make([]byte, 100); ; { // takes everything, and answers nothing
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
