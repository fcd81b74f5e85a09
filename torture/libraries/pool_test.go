package libraries

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// TestEarlyBytes: the client sends its first frames in one segment with the handshake. The
// library must read them, before anything else.
func TestEarlyBytes(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		if lib.accept != nil {
			t.Skip("ws.Upgrade of gobwas drops the bytes that it has read beyond the handshake")
		}
		h := newHost(t, lib)
		got := make(chan string, 10)
		h.received = func(_ *visit, p []byte) { got <- string(p) }
		early := slices.Concat(frameOf(final|opText, []byte("first")), frameOf(final|opPing, []byte("are you there?")),
			frameOf(final|opText, []byte("second")), frameOf(final|opText, []byte("cut in two"))[:7])
		// The rest of the last frame must use the same mask as its head.
		whole := frameOf(final|opText, []byte("cut in two"))
		early = append(early[:len(early)-7], whole[:7]...)
		c := dial(t, h.addr, "a", lib.offer, early)
		c.Write(whole[7:])
		h.next()
		for _, want := range []string{"first", "second", "cut in two"} {
			select {
			case p := <-got:
				if p != want {
					t.Errorf("the library read %q instead of %q", p, want)
				}
			case <-time.After(patience):
				t.Fatalf("the library did not read %q", want)
			}
		}
		if e := c.pong(t); string(e.payload) != "are you there?" {
			t.Errorf("the pong says %q", e.payload)
		}
	})
}

// pong returns the next pong; only pings may come before it.
func (c *client) pong(t *testing.T) event {
	t.Helper()
	for {
		e, err := c.next()
		if err != nil || e.op != opPing && e.op != opPong {
			t.Fatalf("instead of a pong: %x %.40q, %v", e.op, e.payload, err)
		}
		if e.op == opPong {
			return e
		}
	}
}

// TestHeartbeat: one client answers pings, and another reads but sends nothing. The pool closes
// the second, and a third like it, but not before two heartbeats have passed. It never closes
// the first. internal/promises tests the exact time, in simulated time.
func TestHeartbeat(t *testing.T) {
	const heartbeat = 3 * time.Second // a busy machine may hold up the client that answers for twice this time
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		h := newHost(t, lib, gcpool.WithHeartbeat(heartbeat))
		lives, _ := h.connect("lives")
		go lives.receive()
		for range 2 { // one after the other
			start := time.Now()
			silent, _ := h.connect("silent")
			e, err := event{}, error(nil)
			for err == nil && e.op != opClose {
				e, err = silent.next()
			}
			if err != nil || e.code() != 1001 {
				t.Errorf("the silent client is closed with %d, %v", e.code(), err)
			}
			if took := time.Since(start); took < 2*heartbeat-heartbeat/4 {
				t.Errorf("the silent client is closed after %v", took)
			}
			silent.Close()
			eventually(t, "the silent client is removed", func() bool { return h.conns.Connected("silent") == 0 })
		}
		if n := h.conns.Connected("lives"); n != 1 || h.conns.Len() != 1 {
			t.Errorf("the client that answers pings has %d connections, and the pool has %d", n, h.conns.Len())
		}
	})
}

// TestTakeover connects one id again and again while its older handlers end at any time, and call
// Del. No pushed message may be lost, and none of the Dels may remove the newest connection.
func TestTakeover(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		h := newHost(t, lib)
		gate := make(chan struct{})
		h.leave = func(*visit) { <-gate }
		old, v := h.connect("a")
		replaced := []*visit{v}
		for i := range 10 {
			c, v := h.connect("a")
			if e, _, err := old.leave(); err != nil || e.code() != 4500 {
				t.Fatalf("replaced with %d, %v", e.code(), err)
			}
			text := fmt.Sprint("after takeover ", i)
			if err := h.deliver("a", text); err != nil {
				t.Fatal(err)
			}
			c.expect(text)
			if i == 5 {
				close(gate) // six Dels together; from now on each in its own time
				for _, v := range replaced {
					<-v.ended
				}
			}
			old, replaced = c, append(replaced, v)
		}
		if err := h.deliver("a", "still there"); err != nil {
			t.Fatal(err)
		}
		old.expect("still there")
		if !h.conns.Del("a") {
			t.Error("an administrator's Del returns false")
		}
		if e, _, err := old.leave(); err != nil || e.code() != 1000 {
			t.Errorf("Del closes with %d, %v", e.code(), err)
		}
	})
}

// TestShutdownLeavesNothing shuts down with clients in every state.
func TestShutdownLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		listenOnce(t)
		before := ledger.Measure(false)
		t.Run("clients", func(t *testing.T) {
			h := newHost(t, lib)
			clients := make([]*client, 10)
			for i := range clients {
				id := fmt.Sprint("user ", i)
				clients[i], _ = h.connect(fmt.Sprint("user%20", i))
				for n := range 20 {
					h.push(id, fmt.Sprint(n))
				}
			}
			over := h.shutdownLater()
			for i, c := range clients {
				e, messages, err := c.leave()
				if err != nil || e.code() != 1001 || messages != 20 {
					t.Errorf("client %d is closed with %d after %d messages: %v", i, e.code(), messages, err)
				}
			}
			if err := <-over; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if s := h.pool.Stats()[0]; s.Written != 200 || s.Waiting != 0 || s.Connections != 0 {
				t.Errorf("%+v", s)
			}
		})
		if err := ledger.Left(before, patience); err != nil {
			t.Error(err)
		}
	})
}
