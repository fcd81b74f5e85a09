package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nulijiabei/gcpool"
)

// arrivals records messages that arrived: the number of each, and its connection.
type arrivals struct {
	mu  sync.Mutex
	all [][2]int
}

func (a *arrivals) read(conn int, peer net.Conn) {
	for r := bufio.NewScanner(peer); r.Scan(); {
		var n int
		fmt.Sscan(r.Text(), &n)
		a.mu.Lock()
		a.all = append(a.all, [2]int{conn, n})
		a.mu.Unlock()
	}
}

// check fails the test if a message arrived over an older connection than an earlier message.
func (a *arrivals) check(t *testing.T) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, x := range a.all {
		for _, y := range a.all[:i] {
			if x[0] < y[0] && x[1] > y[1] {
				t.Fatalf("message %d came over connection %d after %d over connection %d", x[1], x[0], y[1], y[0])
			}
		}
	}
}

// TestOrderWhileMoving: while a user moves, both nodes have the user for a moment. Batches must
// not go to the two nodes alternately.
func TestOrderWhileMoving(t *testing.T) {
	s := serve(t, nil)
	from := join(t, s.ClientURL())
	two := []*site{join(t, s.ClientURL()), join(t, s.ClientURL())}
	var attached [2]uint64 // how many connections each has announced
	for round := range 20 {
		id, came := userID(round), new(arrivals)
		attach := func(n int) {
			conn, peer := net.Pipe()
			t.Cleanup(func() { peer.Close() })
			go came.read(n, peer)
			if err := two[n%2].conns.Add(id, conn); err != nil {
				t.Fatal(err)
			}
			attached[n%2]++
			eventually(t, "it is announced", func() bool { // an announcement heard late would count as the newest
				from.mu.Lock()
				defer from.mu.Unlock()
				m := from.members[two[n%2].id]
				return m != nil && m.whole >= attached[n%2]
			})
		}
		attach(0)
		two[0].known(id, from)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 1; ; i++ {
				select {
				case <-stop:
					return
				default:
					from.stream.Deliver(t.Context(), id, fmt.Append(nil, i))
				}
			}
		})
		for n := 1; n <= 10; n++ {
			attach(n)
			two[n%2].known(id, from)
			eventually(t, "the older is closed", func() bool { return two[(n+1)%2].added(key{name, id}).IsZero() })
		}
		close(stop)
		wg.Wait()
		came.check(t)
	}
}

// TestMailboxWhileAnAnswerIsOnItsWay: the answer that no node has the id is out of date when it
// arrives, so the message must not stay in the mailbox.
func TestMailboxWhileAnAnswerIsOnItsWay(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL(), gcpool.WithMailbox(time.Hour, 1<<20)), join(t, s.ClientURL())
	held, hold := make(chan struct{}), make(chan struct{})
	a.enqueue(&request{key: key{"x", "y"}, kind: where, batch: [][]byte{nil}, done: func([]error) { // holds up receive, as a busy machine does
		close(held)
		<-hold
	}})
	wake(a.sending)
	<-held
	a.stream.Add("alice", []byte("x"))
	eventually(t, "it is out, and answered", func() bool { return a.Stats().Requests == 2 && len(a.in) > 0 })
	u := b.dial("alice")
	eventually(t, "b has announced her", func() bool {
		announced := b.Stats().IDs == 1
		a.mu.Lock()
		defer a.mu.Unlock()
		m := a.members[b.id]
		return announced && m != nil && m.whole == 1
	})
	close(hold)
	if got := u.read(); got != "x" {
		t.Errorf("received %q", got)
	}
}

// TestShortRouteCut: a lost announcement is noticed and repeated, even if no node has
// reconnected or been forgotten.
func TestShortRouteCut(t *testing.T) {
	var route *proxy
	servers := serveCluster(t, 2, &route)
	a, b := join(t, servers[0].ClientURL()), join(t, servers[1].ClientURL())
	older := a.dial("alice")
	a.known("alice", b)
	eventually(t, "members", func() bool { return a.Stats().Nodes == 1 && b.Stats().Nodes == 1 })
	route.cut()
	eventually(t, "cut", func() bool { return servers[0].NumRoutes() == 0 && servers[1].NumRoutes() == 0 })
	b.dial("alice")
	eventually(t, "announced", func() bool { return b.Stats().IDs == 1 })
	route.mend()
	older.ends()
	b.known("alice", a, b)
}

// TestLeaveAtOnce: with a context that has ended, Leave still gives up the ids.
func TestLeaveAtOnce(t *testing.T) {
	s := serve(t, nil)
	nc, pool := connect(t, s.ClientURL()), gcpool.NewPool()
	pool.Register(name)
	before := s.NumSubscriptions()
	n, err := Join(pool, nc)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		conn, _ := net.Pipe()
		pool.GetConn(name).Add(userID(i), conn)
	}
	eventually(t, "some are subscribed", func() bool { return n.Stats().IDs > 500 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Leave(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Leave: %v", err)
	}
	eventually(t, "nothing is subscribed", func() bool { return s.NumSubscriptions() <= before })
	pool.Shutdown(ctx)
}

// TestNATSIsStuck: while nc is stuck in a write, each call ends with its context.
func TestNATSIsStuck(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	a := join(t, p.url())
	join(t, s.ClientURL())
	eventually(t, "members", func() bool { return a.Stats().Nodes == 1 })
	p.hold(true)
	large := make([]byte, 900<<10)
	eventually(t, "a write is stuck", func() bool {
		a.stream.Broadcast(large)
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.broadcasting > 10<<20 // no goroutine takes them off
	})
	calls := map[string]func(ctx context.Context){
		"Where":   func(ctx context.Context) { a.Where(ctx, name, "x") },
		"Deliver": func(ctx context.Context) { a.stream.Deliver(ctx, "x", []byte("x")) },
		"Online": func(ctx context.Context) {
			for range a.Online(ctx, name) {
			}
		},
	}
	end := func(what string, call func(ctx context.Context)) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			call(ctx)
		}()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Errorf("%s does not end with its context", what)
		}
	}
	for what, call := range calls {
		end(what, call)
	}
	end("Shutdown", func(ctx context.Context) { a.pool.Shutdown(ctx) })
	end("Leave", func(ctx context.Context) { a.Leave(ctx) })
	a.err = nil // for the cleanup, which checks it
	p.hold(false)
}

// TestLeavingWhileNATSIsLost: whenever the connection breaks, the
// server keeps no interest in an id that has left.
func TestLeavingWhileNATSIsLost(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	a := join(t, p.url())
	before := s.NumSubscriptions()
	for round := range 6 {
		for i := range 500 {
			conn, _ := net.Pipe()
			a.conns.Add(userID(i), conn)
		}
		eventually(t, "all are there", func() bool { return a.Stats().IDs == 500 && s.NumSubscriptions() >= before+500 })
		p.hold(round%2 == 1)
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 500 {
				a.conns.Del(userID(i))
			}
		})
		eventually(t, "some have left", func() bool { return a.Stats().IDs < 500-round*50 })
		p.cut()
		p.hold(false)
		wg.Wait()
		p.mend()
		eventually(t, "none is left", func() bool {
			return a.Stats().IDs == 0 && a.nc.IsConnected() && s.NumSubscriptions() <= before
		})
	}
}

// lateConn delivers what is written, but its Write returns only when the test lets it, whatever
// else is done to the connection.
type lateConn struct {
	net.Conn
	got  chan string
	free chan struct{}
}

func (c *lateConn) Write(p []byte) (int, error) {
	c.got <- string(p)
	<-c.free
	return 0, errors.New("broken")
}
func (c *lateConn) Close() error                     { return nil }
func (c *lateConn) SetDeadline(time.Time) error      { return nil }
func (c *lateConn) SetWriteDeadline(time.Time) error { return nil }

// TestGivenUpIsNotSentAgain: a write that was given up may have reached the peer, so its
// message must not be sent again.
func TestGivenUpIsNotSentAgain(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL(), gcpool.WithMailbox(time.Minute, 1<<20)), join(t, s.ClientURL())
	late := &lateConn{got: make(chan string, 10), free: make(chan struct{})}
	late.Conn, _ = net.Pipe()
	defer close(late.free)
	b.conns.Add("alice", late)
	b.known("alice", a)
	outcome := make(chan error, 1)
	go func() { outcome <- a.stream.Deliver(t.Context(), "alice", []byte("once")) }()
	if got := <-late.got; got != "once\n" {
		t.Fatalf("received %q", got)
	}
	u := a.dial("alice") // alice reconnects to another node
	if err := <-outcome; err == nil || errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver of a message that may have been delivered: %v", err)
	}
	a.stream.Add("alice", []byte("next"))
	if got := u.read(); got != "next" {
		t.Errorf("received %q", got)
	}
}

// TestJoinTwice: a pool can have only one node.
func TestJoinTwice(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	if _, err := Join(b.pool, connect(t, s.ClientURL())); !errors.Is(err, gcpool.ErrRegistered) {
		t.Errorf("second Join: %v", err)
	}
	u := b.dial("alice")
	b.known("alice", a)
	if err := a.stream.Deliver(t.Context(), "alice", []byte("x")); err != nil || u.read() != "x" {
		t.Errorf("Deliver after the second Join: %v", err)
	}
	var n *Node
	if _, err := n.Where(t.Context(), name, "x"); !errors.Is(err, gcpool.ErrInvalid) {
		t.Errorf("Where of a nil Node: %v", err)
	}
	if err := n.Leave(t.Context()); !errors.Is(err, gcpool.ErrInvalid) {
		t.Errorf("Leave of a nil Node: %v", err)
	}
}

// TestJoinTwiceHearsNoBroadcast: while a second Join finds out that the pool already has a
// node, no Broadcast may be written twice.
func TestJoinTwiceHearsNoBroadcast(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	u := b.dial("alice")
	b.known("alice", a)
	stop, sent := make(chan struct{}), make(chan int)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				sent <- i
				return
			case <-time.After(100 * time.Microsecond):
				if err := a.stream.Broadcast(fmt.Append(nil, i)); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	nc := connect(t, s.ClientURL())
	for range 10 {
		if _, err := Join(b.pool, nc); !errors.Is(err, gcpool.ErrRegistered) {
			t.Errorf("second Join: %v", err)
		}
	}
	close(stop)
	for i := range <-sent {
		if got := u.read(); got != fmt.Sprint(i) {
			t.Fatalf("read %q, want %d", got, i)
		}
	}
}

// TestJoinIsNoBroadcast: to check its permissions, Join publishes a message. No connection may
// get it, whatever the name of its pool.
func TestJoinIsNoBroadcast(t *testing.T) {
	s := serve(t, nil)
	a := join(t, s.ClientURL())
	if err := a.pool.Register(""); err != nil {
		t.Fatal(err)
	}
	conn, peer := net.Pipe()
	defer peer.Close()
	if err := a.pool.GetConn("").Add("alice", conn); err != nil {
		t.Fatal(err)
	}
	b := join(t, s.ClientURL())
	if err := b.pool.Register(""); err != nil {
		t.Fatal(err)
	}
	if err := b.pool.GetStream("").Deliver(t.Context(), "bob", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Error(err)
	}
	a.stream.Broadcast(nil)
	go a.pool.GetStream("").Add("alice", []byte("y"))
	data := make([]byte, 10)
	if n, err := peer.Read(data); err != nil || string(data[:n]) != "y\n" {
		t.Errorf("read %q, %v", data[:n], err)
	}
}

// TestHugeIDs: an id too long for a NATS message is reported as an
// error, and keeps no other id from being announced.
func TestHugeIDs(t *testing.T) {
	s := serve(t, func(o *server.Options) { o.MaxPayload = 64 << 10 })
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	older := a.dial("bob")
	a.known("bob", b)
	b.addAtOnce(strings.Repeat("h", 65_500), strings.Repeat("h", 70_000), strings.Repeat("k", 40_000), "bob")
	older.ends()
	b.known("bob", a)
	eventually(t, "an error", func() bool { return errors.Is(b.Err(), gcpool.ErrTooLarge) })
	large := strings.Repeat("k", 40_000)
	b.known(large, a)
}

// TestEmptyIDs: an announcement of an empty id is malformed.
func TestEmptyIDs(t *testing.T) {
	s := serve(t, nil)
	a := join(t, s.ClientURL())
	bus := connect(t, s.ClientURL())
	b := append(appendString(nil, strings.Repeat("x", 22)), joined, 0, 1)
	bus.Publish(a.subject("s", a.id), append(appendString(appendString(b, name), ""), 1))
	eventually(t, "malformed", func() bool { return a.Stats().Malformed == 1 })
}
