package libraries

import (
	"context"
	"testing"
	"time"
)

// TestFloodedClientReadsTheCode has pushes fill all buffers up to a client that reads, but
// not at once: when its connection is removed, the close frame still reaches it.
func TestFloodedClientReadsTheCode(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		h := newHost(t, lib)
		c, v := h.connect("a")
		for h.pool.Stats()[0].Stalled == 0 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			h.stream.AddContext(ctx, "a", noise[:60_000])
			cancel()
		}
		h.conns.Kick("a", 4001, "x")
		time.Sleep(100 * time.Millisecond) // a client that is busy
		if e, _, err := c.leave(); err != nil || e.code() != 4001 {
			t.Errorf("closed with %d, %v", e.code(), err)
		}
		<-v.ended
	})
}
