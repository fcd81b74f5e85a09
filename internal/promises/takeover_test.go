package promises

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestTakeoverLetsAWriteEnd: at a takeover, a write that still makes progress can end before
// its connection is closed.
func TestTakeoverLetsAWriteEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t)
		peer := pipe(t, conns, "a")
		outcome := make(chan error, 1)
		go func() { outcome <- stream.Deliver(t.Context(), "a", []byte("hello")) }()
		io.ReadFull(peer, make([]byte, 3))
		pipe(t, conns, "a")
		time.Sleep(10 * time.Millisecond)
		io.ReadFull(peer, make([]byte, 3))
		if err := <-outcome; err != nil {
			t.Errorf("Deliver: %v, though the peer had it 10 ms later", err)
		}
	})
}

// TestTakeoverDuringAWriteIsTold: a connection that is taken over during a write gets
// the rest of the message, then the close frame.
func TestTakeoverDuringAWriteIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t)
		raw := upgradedPipe(t, conns)
		add(t, stream, "a", "hello")
		io.ReadFull(raw, make([]byte, 3))
		pipe(t, conns, "a")
		io.ReadFull(raw, make([]byte, 5))
		equal(t, "close frames", closings(raw), []string{"4500"})
	})
}

// TestTakeoverDoesNotWaitForASlowPeer: the old peer reads slowly. The
// new connection must not wait for it.
func TestTakeoverDoesNotWaitForASlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t)
		raw := upgradedPipe(t, conns)
		add(t, stream, "a", strings.Repeat("x", 900_000)) // leaves room for more
		io.ReadFull(raw, make([]byte, 1))
		go func() {
			for buf := make([]byte, 64<<10); ; {
				if _, err := raw.Read(buf); err != nil {
					return
				}
				time.Sleep(15 * time.Millisecond)
			}
		}()
		time.Sleep(40 * time.Millisecond)
		add(t, stream, "a", "next")
		peer, start := pipe(t, conns, "a"), time.Now()
		peer.SetReadDeadline(start.Add(time.Minute))
		equal(t, "received", lines(t, bufio.NewReader(peer), 1), []string{"next"})
		within(t, "received", start, 0, 100*time.Millisecond)
		raw.Close()
		time.Sleep(15 * time.Millisecond)
	})
}

// TestNewConnectionIsNotJudgedByTheOldOnesStall: the old connection stalled with a full outbox.
// The overflow policy must not close the new one because of that.
func TestNewConnectionIsNotJudgedByTheOldOnesStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		_, c, s := started(t, gcpool.WithOutbox(1000), gcpool.WithUndelivered(r.hook))
		pipe(t, c, "a") // never reads
		add(t, s, "a", string(make([]byte, 900)))
		time.Sleep(2 * time.Second) // stalled, but far from the write timeout
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

// upgradedPipe connects "a" over memory, under Upgrade and in a synctest bubble, and
// returns the peer's end.
func upgradedPipe(t *testing.T, conns *gcpool.ConnPool) net.Conn {
	t.Helper()
	raw, _ := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		conns.Add("a", ws)
		io.Copy(io.Discard, ws)
	}))("")
	synctest.Wait()
	return raw
}
