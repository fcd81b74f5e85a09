package libraries

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestFloodedClientReadsTheCode: pushes fill all buffers up to a client that reads, though not
// at once. When its connection is removed, the close frame must still reach it. The client must
// read within grace, so the test may need several attempts.
func TestFloodedClientReadsTheCode(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		attempts(t, func() error {
			h := newHost(t, lib)
			c, v := h.connect("a")
			h.flood("a")
			h.conns.Kick("a", 4001, "x")
			time.Sleep(100 * time.Millisecond) // a busy client
			e, _, err := c.leave()
			<-v.ended
			if err != nil || e.code() != 4001 {
				return fmt.Errorf("closed with %d, %v", e.code(), err)
			}
			return nil
		})
	})
}

// flood pushes to id until a write to it is stuck.
func (h *host) flood(id string) {
	for h.pool.Stats()[0].Stalled == 0 {
		ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Millisecond)
		h.stream.AddContext(ctx, id, noise[:60_000])
		cancel()
	}
}

// TestReadLoopNeverWaits: a client pings and sends while a write of the pool is stuck. The
// library's pong must not wait for that write, or the library would not read what comes next.
func TestReadLoopNeverWaits(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		h := newHost(t, lib, gcpool.WithWriteTimeout(time.Hour), gcpool.WithHeartbeat(0))
		got := make(chan string, 10)
		h.received = func(_ *visit, p []byte) { got <- string(p) }
		c, _ := h.connect("a")
		h.flood("a")
		for range 3 {
			c.send(final|opPing, []byte("ping"))
			c.send(final|opText, []byte("message"))
			select {
			case <-got:
			case <-time.After(patience):
				t.Fatal("the library does not read: its pong waits for the pool's write")
			}
		}
	})
}
