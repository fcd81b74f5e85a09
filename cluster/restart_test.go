package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// shutDown shuts down the pool of s, then makes its node leave.
func (s *site) shutDown() (left chan error) {
	s.t.Helper()
	if err := s.pool.Shutdown(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	left = make(chan error, 1)
	go func() { left <- s.Leave(context.Background()) }()
	return left
}

// leaves closes the connection once the server has closed it, as a browser does.
func (u *user) leaves() {
	u.ends()
	u.Close()
}

// TestRestartLosesNothing: a node is restarted, and its user connects to another node a little
// later. All pushes in between reach the user in order, without a mailbox.
func TestRestartLosesNothing(t *testing.T) {
	s := serve(t, nil)
	a, b, c := join(t, s.ClientURL()), join(t, s.ClientURL()), join(t, s.ClientURL())
	u := a.dial("alice")
	go u.leaves()
	a.known("alice", b, c)
	outcomes := make(chan error, 1000)
	stop, stopped := make(chan struct{}), make(chan int, 1)
	push := func(i int) {
		if err := c.stream.AddFunc("alice", fmt.Append(nil, i), func(err error) { outcomes <- err }); err != nil {
			t.Error(err)
		}
	}
	back, added := b.arrives("alice") // so that only Add remains to be done within holdTime
	left := a.shutDown()
	go func() {
		i := 0
		for ; ; i++ {
			select {
			case <-stop:
				stopped <- i
				return
			case <-time.After(5 * time.Millisecond):
				push(i)
			}
		}
	}()
	time.Sleep(holdTime / 5)
	select {
	case err := <-left:
		t.Errorf("Leave did not wait for the user: %v", err)
	default:
	}
	u = back
	if err := added(); err != nil {
		t.Error(err)
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
	close(stop)
	n := <-stopped
	for i := range n {
		if got := u.read(); got != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, got)
		}
		if err := <-outcomes; err != nil {
			t.Errorf("outcome %d: %v", i, err)
		}
	}
	if n < 5 {
		t.Errorf("only %d pushes", n)
	}
}

// TestRestartEndsForWhoStaysAway: a leaving node waits for a user for holdTime. After that, a
// push ends as it does for any user who is away.
func TestRestartEndsForWhoStaysAway(t *testing.T) {
	s := serve(t, nil)
	a, c := join(t, s.ClientURL()), join(t, s.ClientURL())
	go a.dial("alice").leaves()
	a.known("alice", c)
	start := time.Now()
	left, before := a.shutDown(), c.Stats().Requests
	if err := c.stream.Deliver(t.Context(), "alice", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver: %v", err)
	}
	if took := time.Since(start); took < holdTime/2 {
		t.Errorf("given up after %v", took)
	}
	if n := c.Stats().Requests - before; n > 150 { // one every 2 ms would be 1,000
		t.Errorf("the push took %d requests", n)
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 20*holdTime {
		t.Errorf("Leave took %v", took)
	}
}

// TestShutdownSendsBack: a user has gone elsewhere, but the old connection lasts because its
// peer does not answer the close frame. No message may be lost because of it.
func TestShutdownSendsBack(t *testing.T) {
	s := serve(t, nil)
	a, b, c := join(t, s.ClientURL()), join(t, s.ClientURL()), join(t, s.ClientURL())
	u := a.dial("alice")
	a.known("alice", b, c)
	down := make(chan error, 1)
	go func() { down <- a.pool.Shutdown(context.Background()) }()
	u.ends()
	outcome := c.background("alice", "x")
	select {
	case err := <-outcome:
		t.Errorf("a push to a node that shuts down ended with %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if got := b.dial("alice").read(); got != "x" {
		t.Errorf("read %q", got)
	}
	if err := <-outcome; err != nil {
		t.Error(err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// TestLeaveWaitsNoLongerThanItsContext: Leave waits for users who are
// expected elsewhere, but not beyond its context.
func TestLeaveWaitsNoLongerThanItsContext(t *testing.T) {
	s := serve(t, nil)
	pool := gcpool.NewPool()
	if err := pool.Register(name); err != nil {
		t.Fatal(err)
	}
	node, err := Join(pool, connect(t, s.ClientURL()))
	if err != nil {
		t.Fatal(err)
	}
	if err := pool.GetConn(name).Add("alice", pipe(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "announced", func() bool { return node.Stats().IDs == 1 })
	if err := pool.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	start := time.Now()
	if err := node.Leave(ctx); err != context.Canceled || time.Since(start) > holdTime/2 {
		t.Errorf("Leave: %v after %v", err, time.Since(start))
	}
}

// TestNobodyIsExpectedBackWithoutShutdown: a user who leaves a node that goes on is away at once.
func TestNobodyIsExpectedBackWithoutShutdown(t *testing.T) {
	s := serve(t, nil)
	a, c := join(t, s.ClientURL()), join(t, s.ClientURL())
	u := a.dial("alice")
	a.known("alice", c)
	u.Close()
	eventually(t, "away, as NATS knows", func() bool {
		_, err := c.nc.Request(c.subjectOf(alice), nil, tick)
		return err == nats.ErrNoResponders
	})
	before := c.sent()
	if err := c.stream.Deliver(t.Context(), "alice", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver: %v", err)
	}
	if n := c.Stats().Requests - before; n > 2 { // the first goes where alice was
		t.Errorf("the push took %d requests", n)
	}
}

// TestRestartOfASlowUser: a node has taken messages for a user who does not read, and Shutdown's
// time runs out. The messages that were not written go to the user's next connection, in order.
func TestRestartOfASlowUser(t *testing.T) {
	s := serve(t, nil)
	a, b, c := join(t, s.ClientURL()), join(t, s.ClientURL()), join(t, s.ClientURL())
	if err := a.conns.Add("alice", pipe(t)); err != nil {
		t.Fatal(err)
	}
	a.known("alice", b, c)
	const messages = 10
	outcomes := make(chan error, messages)
	for i := range messages {
		if err := c.stream.AddFunc("alice", fmt.Append(nil, i), func(err error) { outcomes <- err }); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "taken", func() bool { return a.stats().Waiting > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := a.pool.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("Shutdown: %v", err)
	}
	go a.Leave(context.Background())
	u, lost := b.dial("alice"), 0
	for range messages {
		if err := <-outcomes; err != nil {
			lost++
			t.Log(err)
		}
	}
	if lost > 1 { // the write under way, on a connection that cannot report how much it wrote
		t.Errorf("%d are lost", lost)
	}
	for i := lost; i < messages; i++ {
		if got := u.read(); got != fmt.Sprint(i) {
			t.Errorf("read %q, want %d", got, i)
		}
	}
}
