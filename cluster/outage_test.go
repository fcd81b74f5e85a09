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

// TestNATSGone: local delivery goes on, messages for elsewhere end at once, and
// when NATS is back all is whole again, with what happened meanwhile.
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
	if d := time.Since(start); d > 10*time.Second { // a minute, if it waits for an answer
		t.Errorf("after %v", d)
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
		t.Errorf("whole again after %v", d)
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

// TestLostNATSIsLogged: and that it is back.
func TestLostNATSIsLogged(t *testing.T) {
	port := freePort(t)
	onPort := func(o *server.Options) { o.Port = port }
	s := serve(t, onPort)
	lines := make(logged, 100)
	n := joinAs(t, s.ClientURL(), []Option{WithLogger(slog.New(lines))})
	s.Shutdown()
	s.WaitForShutdown()
	if got := lines.next(t); got != "gcpool/cluster: error" || n.Err() != errCut {
		t.Errorf("it logs %q; Err is %v", got, n.Err())
	}
	serve(t, onPort)
	if got := lines.next(t); got != "gcpool/cluster: connected to NATS again" {
		t.Errorf("it logs %q", got)
	}
}

// TestClosedNATSIsLogged: right after it was lost, too.
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

// logged has the texts of what is logged.
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

// TestLostOnTheWay: what has left and is not answered is uncertain after the deadline. It
// is never sent again, nor written when it arrives after that.
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

// TestPausedNode: a node that is stuck for three seconds loses nothing, and keeps
// nobody from other nodes.
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
	if delivered < 10 { // of 250 or so; one or two, if they wait for the node that is stuck
		t.Errorf("delivered %d to another node", delivered)
	}
	p.hold(false)
	if got := stuck.read(); got != "x" {
		t.Errorf("received %q", got)
	}
	wg.Wait()
}

// TestNodeDies: its ids are not connected then, and it is forgotten.
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
	heard(a.now().Add(time.Hour)) // it is not forgotten, however slow the test is
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

// TestSlowPeerElsewhere: a peer that takes its time is in progress, however long it
// takes; and what it does not take comes back as slow.
func TestSlowPeerElsewhere(t *testing.T) {
	s := serve(t, nil)
	a := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Second)})
	b := join(t, s.ClientURL(), gcpool.WithWriteTimeout(3*time.Second), gcpool.WithOutbox(64<<20), gcpool.WithHeartbeat(0))
	b.dial("slow") // never reads
	b.known("slow", a)
	large := make([]byte, 512<<10)
	start := time.Now()
	var err error
	for err == nil { // until the buffers of the system are full
		start = time.Now()
		err = a.stream.Deliver(t.Context(), "slow", large)
	}
	if !errors.Is(err, gcpool.ErrSlow) {
		t.Errorf("Deliver: %v, want ErrSlow", err)
	}
	if d := time.Since(start); d < 2*time.Second {
		t.Errorf("after %v, want the write timeout", d)
	}
	b.dial("gone")
	b.known("gone", a)
	b.conns.Del("gone")
	if err := a.stream.Deliver(t.Context(), "gone", large); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver: %v, want ErrNotConnected", err)
	}
}

// TestLargeBatch: a batch beyond what NATS takes goes in parts; one message
// beyond is too large.
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

// TestLeave: what is on its way has its outcome, what comes later has none
// elsewhere, and other nodes know.
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
		t.Errorf("once more: %v", err)
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

// TestLeaveWithoutNATS: it ends with its context.
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
		t.Errorf("once more, with a context of its own: %v", err)
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
		t.Errorf("after it: %v, want the same", err)
	}
	eventually(t, "an outcome", func() bool { return a.stats().Waiting == 0 })
	if st := a.stats(); st.Other != 1 {
		t.Errorf("%+v, want one that is uncertain", st)
	}
	a.err = nil // which is what the clean-up looks at
}

// TestJoinRefuses: what cannot work is an error, and leaves nothing behind.
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
