package cluster

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// TestServerVanishes: a node's NATS server falls silent without closing the connection. The
// node must soon move to another server, and its users must be reachable again.
func TestServerVanishes(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	a, b := join(t, p.url()), joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Second)})
	if err := a.nc.SetServerPool([]string{p.url(), s.ClientURL()}); err != nil {
		t.Fatal(err)
	}
	u := a.dial("alice")
	a.known("alice", b)
	p.hold(true)
	eventually(t, "it connects again", func() bool { return a.nc.Stats().Reconnects > 0 && a.nc.IsConnected() })
	eventually(t, "alice is reached again", func() bool { return b.stream.Deliver(t.Context(), "alice", []byte("x")) == nil })
	if got := u.read(); got != "x" {
		t.Errorf("received %q", got)
	}
}

// TestServerVanishesDuringAWrite: the same while nats.go is stuck in a write, with the
// FlusherTimeout that the README recommends.
func TestServerVanishesDuringAWrite(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	back := make(chan struct{}, 10)
	nc := connect(t, p.url(), nats.FlusherTimeout(2*time.Second),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} }))
	if err := nc.SetServerPool([]string{p.url(), s.ClientURL()}); err != nil {
		t.Fatal(err)
	}
	pool := gcpool.NewPool()
	if err := pool.Register(name); err != nil {
		t.Fatal(err)
	}
	n, err := Join(pool, nc, WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	pool.Start()
	p.hold(true)
	large := make([]byte, 900<<10)
	eventually(t, "a write is held up", func() bool {
		if len(back) > 0 { // already happened, while the machine held up the test
			return true
		}
		pool.GetStream(name).Broadcast(large)
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.broadcasting > 10<<20 // no goroutine takes them off
	})
	select {
	case <-back:
	case <-time.After(30 * time.Second):
		t.Error("the node does not connect again")
	}
	if err := pool.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := n.Leave(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestConnectsAgainOnlyIfDeaf: a node keeps its connection if its heartbeats come back, or if
// it has not yet processed everything that arrived.
func TestConnectsAgainOnlyIfDeaf(t *testing.T) {
	g := haunt(t, serve(t, nil).ClientURL(), "g", nil)
	long := g.now().Add(-natsTimeout)
	look := func(what string, want uint64) {
		t.Helper()
		g.lookAtNATS()
		if n := g.nc.Stats().Reconnects; n != want {
			t.Errorf("%s: the node connected again %d times", what, n)
		}
	}
	g.beats()
	if look("before it can come back", 0); g.unheard.IsZero() {
		t.Error("the node does not wait for its heartbeat")
	}
	g.unheard = long
	g.beats()
	g.hear(g.next(g.all))
	look("it has come back", 0)
	g.unheard = long
	g.control <- &nats.Msg{}
	look("something has come", 0)
	<-g.control
	if g.Node.Err() != nil {
		t.Error(g.Node.Err())
	}
	g.lookAtNATS()
	eventually(t, "it connects again", func() bool { return g.nc.Stats().Reconnects == 1 && g.nc.IsConnected() })
	if g.Node.Err() != errDeaf || !g.unheard.IsZero() {
		t.Errorf("%v, waits since %v", g.Node.Err(), g.unheard)
	}
}
