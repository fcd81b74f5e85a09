package cluster

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// snail connects id to a pool, reads a little of what arrives five
// times a second, and counts the bytes.
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

// TestBroadcastIsIsolated: a Broadcast from another node does not wait for a slow reader in
// another pool, and the Broadcasts of one pool keep their order.
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
		t.Errorf("the Broadcast waited for %d bytes in another pool", n)
	}
}

// TestCast: the Broadcasts that wait for readers are bounded. Those beyond the bound are
// dropped and reported, and none is begun after the end.
func TestCast(t *testing.T) {
	pool := gcpool.NewPool()
	if err := pool.Register(name); err != nil {
		t.Fatal(err)
	}
	n, g := bare("n"), bare("g")
	n.pool = pool
	m := &nats.Msg{Data: append(appendString(appendString(nil, g.id), name), "x"...)}
	c := &broadcast{}
	n.broadcasts[name] = c
	n.receiveBroadcast(m)
	n.receiveBroadcast(m)
	if len(c.waiting) != 2 || c.bytes != 2*(1+broadcastCost) || n.Err() != nil {
		t.Errorf("%d wait, %d bytes: %v", len(c.waiting), c.bytes, n.Err())
	}
	c.bytes += broadcastBytes
	if n.receiveBroadcast(m); len(c.waiting) != 2 || !errors.Is(n.Err(), gcpool.ErrSlow) {
		t.Errorf("%d wait: %v", len(c.waiting), n.Err())
	}
	c.bytes -= broadcastBytes
	n.drain(pool.GetStream(name), c)
	if len(n.broadcasts) > 0 || len(c.waiting) > 0 || c.bytes != 0 {
		t.Errorf("%d wait, %d bytes, at the end", len(c.waiting), c.bytes)
	}
	n.ended.Store(true)
	if n.receiveBroadcast(m); len(n.broadcasts) > 0 {
		t.Error("begun after the end")
	}
}
