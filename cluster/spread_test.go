package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// snail connects id in a pool, reads some of what comes five times a second, and counts
// the bytes.
func snail(t *testing.T, pool *gcpool.Pool, name, id string) (read *atomic.Int64) {
	t.Helper()
	conn, peer := net.Pipe()
	if err := pool.GetConn(name).Add(id, conn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	read = new(atomic.Int64)
	go func() {
		for b := make([]byte, 4<<10); ; time.Sleep(200 * time.Millisecond) {
			n, err := peer.Read(b)
			if read.Add(int64(n)); err != nil {
				return
			}
		}
	}()
	return read
}

// TestBroadcastIsIsolated: a Broadcast from elsewhere does not wait for a slow reader of
// another pool, and those of one pool keep their order.
func TestBroadcastIsIsolated(t *testing.T) {
	s := serve(t, nil)
	outbox := gcpool.WithOutbox(16 << 10)
	a, b := join(t, s.ClientURL(), outbox), join(t, s.ClientURL(), outbox)
	for _, o := range []*site{a, b} {
		if err := o.pool.Register("slow"); err != nil {
			t.Fatal(err)
		}
	}
	read := snail(t, b.pool, "slow", "snail")
	hare := b.dial("hare")
	for range 100 {
		if err := a.pool.GetStream("slow").Broadcast(make([]byte, 4<<10)); err != nil {
			t.Fatal(err)
		}
	}
	for _, data := range []string{"1", "2", "3"} {
		if err := a.stream.Broadcast([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"1", "2", "3"} {
		if got := hare.read(); got != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
	if n := read.Load(); n > 50*4<<10 {
		t.Errorf("it waited for %d bytes in another pool", n)
	}
}

// TestCast: what waits for readers is bounded, and what is beyond is dropped and noted. Leave waits
// for what is left.
func TestCast(t *testing.T) {
	s := serve(t, nil)
	a := join(t, s.ClientURL())
	pool := gcpool.NewPool(gcpool.WithBuffer(1)) // a Broadcast waits for Start if there is one already
	n, err := Join(pool, connect(t, s.ClientURL()), WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if err := pool.Register(name); err != nil {
		t.Fatal(err)
	}
	came := newPipe(t, &site{conns: pool.GetConn(name)}, "alice")
	eventually(t, "it is announced", func() bool { return n.ids.Load() == 1 })
	sub := n.broadcasts[name]
	if messages, bytes, err := sub.PendingLimits(); messages != broadcastBytes/broadcastCost || bytes != broadcastBytes || err != nil {
		t.Errorf("up to %d messages and %d bytes wait: %v", messages, bytes, err)
	}
	eventually(t, "some wait", func() bool {
		if err := a.stream.Broadcast([]byte("x")); err != nil {
			t.Error(err)
		}
		waiting, _, _ := sub.Pending()
		return waiting > 2
	})
	if err := sub.SetPendingLimits(1, 1); err != nil {
		t.Error(err)
	}
	if err := a.stream.Broadcast([]byte("x")); err != nil {
		t.Error(err)
	}
	eventually(t, "it is noted", func() bool { return errors.Is(n.Err(), nats.ErrSlowConsumer) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := n.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Leave: %v", err)
	}
	pool.Start()
	if got := <-came; got[0] != 'x' {
		t.Errorf("received %q", got)
	}
	if err := pool.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
