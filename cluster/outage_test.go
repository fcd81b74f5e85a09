package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// TestNATSGone: while NATS is gone, local delivery goes on and messages for other nodes end at
// once. When NATS is back, the cluster works again, and knows what happened in between.
func TestNATSGone(t *testing.T) {
	port := freePort(t)
	onPort := func(o *server.Options) { o.Port = port }
	s := serve(t, onPort)
	a, b := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Minute)}), join(t, s.ClientURL())
	here, there := a.dial("here"), b.dial("there")
	both := a.dial("both")
	b.known("there", a)
	a.known("both", b)
	s.Shutdown()
	s.WaitForShutdown()
	eventually(t, "outage seen", func() bool { return !a.nc.IsConnected() && !b.nc.IsConnected() })
	if err := a.stream.Deliver(t.Context(), "here", []byte("1")); err != nil || here.read() != "1" {
		t.Errorf("local delivery: %v", err)
	}
	start := time.Now()
	if err := a.stream.Deliver(t.Context(), "there", []byte("1")); !errors.Is(err, gcpool.ErrNotConnected) || errors.Is(err, ErrUncertain) {
		t.Errorf("delivery elsewhere: %v", err)
	}
	if d := time.Since(start); d > 10*time.Second { // it would be a minute if it waited for an answer
		t.Errorf("it took %v", d)
	}
	if err := a.stream.Broadcast([]byte("2")); !errors.Is(err, gcpool.ErrNotConnected) || here.read() != "2" {
		t.Errorf("Broadcast: %v", err)
	}
	both.read()
	newest := b.dial("both")
	late := b.dial("late")
	eventually(t, "all are forgotten", func() bool { return a.Stats().Nodes == 0 && b.Stats().Nodes == 0 })
	serve(t, onPort)
	start = time.Now()
	both.ends()
	b.known("late", a)
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("the cluster works again only after %v", d)
	} else {
		t.Logf("whole again after %v", d)
	}
	for id, u := range map[string]*user{"there": there, "both": newest, "late": late} {
		if err := a.stream.Deliver(t.Context(), id, []byte("3")); err != nil || u.read() != "3" {
			t.Errorf("%s: %v", id, err)
		}
	}
	eventually(t, "members", func() bool { return a.Stats().Nodes == 1 && b.Stats().Nodes == 1 })
}

// TestLostNATSIsLogged: a node logs that NATS is lost, and that it is back.
func TestLostNATSIsLogged(t *testing.T) {
	port := freePort(t)
	onPort := func(o *server.Options) { o.Port = port }
	s := serve(t, onPort)
	lines := make(logged, 100)
	n := joinAs(t, s.ClientURL(), []Option{WithLogger(slog.New(lines))})
	s.Shutdown()
	s.WaitForShutdown()
	if got := lines.next(t); got != "gcpool/cluster: error" || n.Err() != errCut {
		t.Errorf("the node logs %q; Err is %v", got, n.Err())
	}
	serve(t, onPort)
	if got := lines.next(t); got != "gcpool/cluster: connected to NATS again" {
		t.Errorf("it logs %q", got)
	}
}

// TestClosedNATSIsLogged: a node logs that its connection was closed, even right after it was lost.
func TestClosedNATSIsLogged(t *testing.T) {
	s := serve(t, nil)
	lines := make(logged, 100)
	nc := connect(t, s.ClientURL(), nats.MaxReconnects(2), nats.ReconnectWait(150*time.Millisecond))
	pool := gcpool.NewPool()
	n, err := Join(pool, nc, WithLogger(slog.New(lines)))
	if err != nil {
		t.Fatal(err)
	}
	s.Shutdown()
	s.WaitForShutdown()
	for range 2 { // lost, and closed
		if got := lines.next(t); got != "gcpool/cluster: error" {
			t.Errorf("it logs %q", got)
		}
	}
	if err := n.Err(); !errors.Is(err, errClosed) || !errors.Is(err, nats.ErrConnectionClosed) || !errors.Is(err, nats.ErrNoServers) {
		t.Errorf("Err is %v", err)
	}
	if err := n.Leave(t.Context()); err != nil {
		t.Error(err)
	}
}

// logged receives the messages of log records.
type logged chan string

func (l logged) next(t *testing.T) string {
	t.Helper()
	select {
	case text := <-l:
		return text
	case <-time.After(30 * time.Second):
		t.Fatal("nothing is logged")
		return ""
	}
}

func (l logged) Enabled(context.Context, slog.Level) bool { return true }
func (l logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l logged) WithGroup(string) slog.Handler            { return l }
func (l logged) Handle(_ context.Context, r slog.Record) error {
	l <- r.Message
	return nil
}

// TestLostOnTheWay: a request that has left and gets no answer is uncertain after the deadline.
// It is never sent again, and not written if it arrives later.
func TestLostOnTheWay(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	a := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Second)})
	b := join(t, p.url())
	u := b.dial("alice")
	b.known("alice", a)
	p.hold(true)
	start := time.Now()
	if err := a.stream.Deliver(t.Context(), "alice", []byte("lost")); !errors.Is(err, ErrUncertain) {
		t.Errorf("Deliver: %v, want ErrUncertain", err)
	}
	if d := time.Since(start); d < time.Second || d > 10*time.Second {
		t.Errorf("after %v, want a second", d)
	}
	p.hold(false)
	eventually(t, "it goes on", func() bool { return a.stream.Deliver(t.Context(), "alice", []byte("next")) == nil })
	if got := u.read(); got != "next" {
		t.Errorf("received %q", got)
	}
}

// TestPausedNode: a node that is stuck for three seconds loses no
// message, and delays no message to other nodes.
func TestPausedNode(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	a, b, c := join(t, s.ClientURL()), join(t, p.url()), join(t, s.ClientURL())
	stuck, other := b.dial("stuck"), c.dial("other")
	b.known("stuck", a)
	c.known("other", a)
	p.hold(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.stream.Deliver(t.Context(), "stuck", []byte("x")); err != nil {
			t.Errorf("Deliver: %v", err)
		}
	})
	delivered := 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); delivered++ {
		if err := a.stream.Deliver(t.Context(), "other", []byte("y")); err != nil || other.read() != "y" {
			t.Fatalf("Deliver: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if delivered < 10 { // of about 250; only one or two if they wait for the stuck node
		t.Errorf("delivered %d to another node", delivered)
	}
	p.hold(false)
	if got := stuck.read(); got != "x" {
		t.Errorf("received %q", got)
	}
	wg.Wait()
}

// TestNodeDies: the ids of a dead node are not connected any more, and the node is forgotten.
func TestNodeDies(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	b.dial("alice")
	b.known("alice", a)
	eventually(t, "members", func() bool { return a.Stats().Nodes == 1 })
	b.nc.Close()
	eventually(t, "the server knows", func() bool { return s.NumClients() == 1 && a.nc.Flush() == nil && len(a.control) == 0 })
	heard := func(at time.Time) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.members[b.id].heard = at
	}
	heard(a.now().Add(time.Hour)) // keeps it from being forgotten, however slow the test is
	if err := a.stream.Deliver(t.Context(), "alice", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver: %v", err)
	}
	if a.Stats().Nodes == 0 {
		t.Error("Deliver has waited until the node was forgotten")
	}
	heard(a.now())
	eventually(t, "forgotten", func() bool { return a.Stats().Nodes == 0 })
	if b.Err() == nil {
		eventually(t, "an error", func() bool { return b.Err() != nil })
	}
}

// TestSlowPeerElsewhere: a message to a slow peer is in progress, however long that takes.
// Messages that the peer does not take come back as slow.
func TestSlowPeerElsewhere(t *testing.T) {
	s := serve(t, nil)
	a := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Second)})
	b := join(t, s.ClientURL(), gcpool.WithWriteTimeout(3*time.Second), gcpool.WithOutbox(64<<20), gcpool.WithHeartbeat(0))
	b.dial("slow") // never reads
	b.known("slow", a)
	large := make([]byte, 512<<10)
	start := time.Now()
	var err error
	for err == nil { // until the system's buffers are full
		start = time.Now()
		err = a.stream.Deliver(t.Context(), "slow", large)
	}
	if !errors.Is(err, gcpool.ErrSlow) {
		t.Errorf("Deliver: %v, want ErrSlow", err)
	}
	if d := time.Since(start); d < 2*time.Second {
		t.Errorf("it took %v, want the write timeout", d)
	}
	b.dial("gone")
	b.known("gone", a)
	b.conns.Del("gone")
	if err := a.stream.Deliver(t.Context(), "gone", large); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver: %v, want ErrNotConnected", err)
	}
}

// TestLargeBatch: a batch larger than NATS takes is sent in parts. A
// single message larger than that is too large.
func TestLargeBatch(t *testing.T) {
	s := serve(t, func(o *server.Options) { o.MaxPayload = 100 << 10 })
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	u := b.dial("alice")
	b.known("alice", a)
	for i := range 200 {
		if err := a.stream.Add("alice", fmt.Appendf(nil, "%03d%s", i, strings.Repeat("x", 5000))); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.stream.Deliver(t.Context(), "alice", make([]byte, 100<<10)); !errors.Is(err, gcpool.ErrTooLarge) {
			t.Errorf("Deliver: %v, want ErrTooLarge", err)
		}
		if err := a.stream.Deliver(t.Context(), "alice", []byte("200")); err != nil {
			t.Errorf("Deliver: %v", err)
		}
	})
	for i := range 201 {
		if got := u.read()[:3]; got != fmt.Sprintf("%03d", i) {
			t.Fatalf("received %q, want %d", got, i)
		}
	}
	wg.Wait()
	if err := b.Err(); err != nil {
		t.Error(err)
	}
}

// TestLeave: messages on their way have their outcomes, later messages are not delivered
// elsewhere, and the other nodes know that the node has left.
func TestLeave(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	u, v := b.dial("alice"), a.dial("bob")
	b.known("alice", a)
	a.known("bob", b)
	for i := range 100 {
		if err := a.stream.Add("alice", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if err := a.Leave(t.Context()); err != nil {
		t.Errorf("a second Leave: %v", err)
	}
	st := a.stats()
	for i := range st.Forwarded {
		if got := u.read(); got != fmt.Sprint(i) {
			t.Errorf("received %q, want %d", got, i)
		}
	}
	if st.Waiting != 0 || st.Forwarded+st.NotConnected != 100 {
		t.Errorf("%+v", st)
	}
	if err := a.stream.Deliver(t.Context(), "alice", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver after Leave: %v", err)
	}
	if err := b.stream.Deliver(t.Context(), "bob", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver to an id of a node that left: %v", err)
	}
	if err := a.stream.Deliver(t.Context(), "bob", []byte("local")); err != nil || v.read() != "local" {
		t.Errorf("Deliver here: %v", err)
	}
	if n := b.Stats().Nodes; n != 0 {
		t.Errorf("%d nodes are left", n)
	}
}

// TestLeaveWithoutNATS: without NATS, Leave ends with its context.
func TestLeaveWithoutNATS(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	a, b := join(t, p.url()), join(t, s.ClientURL())
	b.dial("alice")
	b.known("alice", a)
	p.hold(true)
	a.stream.Add("alice", []byte("x"))
	eventually(t, "it is out", func() bool { return a.Stats().Requests > 0 && a.Stats().Waiting > 0 })
	ctx, end := context.WithCancel(t.Context())
	defer end()
	first := make(chan error, 1)
	go func() { first <- a.Leave(ctx) }()
	eventually(t, "it leaves", a.gone.Load)
	now, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Leave(now); !errors.Is(err, context.Canceled) {
		t.Errorf("a second Leave, with a context of its own: %v", err)
	}
	select {
	case err := <-first:
		t.Fatalf("Leave: %v, though its context lasts", err)
	case <-time.After(time.Second):
	}
	end()
	select {
	case err := <-first:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Leave: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Leave does not end with its context")
	}
	if err := a.Leave(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("a Leave after that: %v, want the same", err)
	}
	eventually(t, "an outcome", func() bool { return a.stats().Waiting == 0 })
	if st := a.stats(); st.Other != 1 {
		t.Errorf("%+v, want one uncertain message", st)
	}
	a.err = nil // for the cleanup, which checks it
}

// TestJoinRefuses: if Join cannot work it returns an error, and leaves nothing behind.
func TestJoinRefuses(t *testing.T) {
	s := serve(t, nil)
	nc, pool := connect(t, s.ClientURL()), gcpool.NewPool()
	for what, err := range map[string]error{
		"nil pool":    second(Join(nil, nc)),
		"nil conn":    second(Join(pool, nil)),
		"wildcard":    second(Join(pool, nc, WithPrefix("a.*"))),
		"empty":       second(Join(pool, nc, WithPrefix(""))),
		"empty token": second(Join(pool, nc, WithPrefix("a..b"))),
		"timeout":     second(Join(pool, nc, WithTimeout(time.Millisecond))),
	} {
		if !errors.Is(err, gcpool.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", what, err)
		}
	}
	pool.Shutdown(t.Context())
	if _, err := Join(pool, nc); !errors.Is(err, gcpool.ErrClosed) {
		t.Errorf("after Shutdown: %v, want ErrClosed", err)
	}
	nc.Close()
	if _, err := Join(gcpool.NewPool(), nc); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("closed connection: %v", err)
	}
	if n := s.NumSubscriptions(); n > 100 {
		t.Errorf("%d subscriptions are left", n)
	}
}

func second(_ *Node, err error) error { return err }
