package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// TestFailedJoinLeavesNoMember: a Join that the pool refuses has
// taken no push, so no node asks it about one.
func TestFailedJoinLeavesNoMember(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	eventually(t, "nodes know each other", func() bool { return a.Stats().Nodes == 1 && b.Stats().Nodes == 1 })
	closed := gcpool.NewPool()
	if err := closed.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for pool, want := range map[*gcpool.Pool]error{closed: gcpool.ErrClosed, b.pool: gcpool.ErrRegistered} {
		if _, err := Join(pool, connect(t, s.ClientURL())); !errors.Is(err, want) {
			t.Errorf("Join: %v, want %v", err, want)
		}
	}
	if err := a.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all was heard", func() bool { return len(a.control) == 0 })
	a.mu.Lock()
	defer a.mu.Unlock()
	if nodes := a.everybodyLocked(); len(nodes) != 2 {
		t.Errorf("%d nodes may have a push", len(nodes))
	}
}

// TestPushDuringAFailedJoin: a message pushed while Join waits for NATS has its outcome when
// Join fails, and the pool is as it was before.
func TestPushDuringAFailedJoin(t *testing.T) {
	p := through(t, serve(t, nil).Addr().String())
	nc, pool := connect(t, p.url()), gcpool.NewPool()
	if err := pool.Register(name); err != nil {
		t.Fatal(err)
	}
	pool.Start()
	p.hold(true)
	failed := make(chan error, 1)
	go func() {
		_, err := Join(pool, nc, WithTimeout(time.Second))
		failed <- err
	}()
	waited := false
	for ended := false; !ended; {
		start := time.Now()
		if err := pool.GetStream(name).Deliver(t.Context(), "alice", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
			t.Fatalf("Deliver: %v", err)
		}
		waited = waited || time.Since(start) > 100*time.Millisecond
		select {
		case err := <-failed:
			ended = true
			if !errors.Is(err, nats.ErrTimeout) {
				t.Errorf("Join: %v", err)
			}
		default:
		}
	}
	if !waited {
		t.Error("no push waited for Join")
	}
	p.hold(false)
	if err := pool.GetStream(name).Deliver(t.Context(), "alice", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver: %v", err)
	}
	n, err := Join(pool, nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if err := pool.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
