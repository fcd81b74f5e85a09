package promises

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// A bus joins pools of this process, as a cluster over a network would.
type bus struct {
	mu     sync.Mutex
	nodes  []*node
	owners map[string]owner
	delay  time.Duration // of each way
	refuse error         // what every message comes back with
	silent atomic.Bool   // nothing comes back
}

// An owner is where an id is connected, and with which connection.
type owner struct {
	node *node
	conn net.Conn
}

// A node is one pool and its way to the others.
type node struct {
	*bus
	pool   *gcpool.Pool
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
}

// join adds a started pool.
func (b *bus) join(t *testing.T, opts ...gcpool.Option) *node {
	t.Helper()
	n := &node{bus: b}
	n.pool, n.conns, n.stream = started(t, opts...)
	b.mu.Lock()
	b.owners = map[string]owner{}
	b.nodes = append(b.nodes, n)
	b.mu.Unlock()
	if err := n.pool.SetCluster(n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Changed has the newest connection win: the one before is evicted, and then
// messages go to this one.
func (n *node) Changed(_, id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.owners[id]
	now := owner{node: n}
	n.conns.Get(id, func(conn net.Conn) error {
		now.conn = conn
		return nil
	})
	switch {
	case now.conn != nil && now != old:
		if old.node != nil && old.node != n {
			old.node.conns.Evict(id, old.conn)
		}
		n.owners[id] = now
		for _, o := range n.nodes {
			o.conns.Appeared(id)
		}
	case now.conn == nil && old.node == n:
		delete(n.owners, id)
	}
}

func (n *node) owner(id string) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.owners[id].node
}

// Forward passes the batch on to the owner of the id.
func (n *node) Forward(_, id string, batch [][]byte, done func([]error)) {
	go func() {
		time.Sleep(n.delay)
		errs := make([]error, 0, len(batch))
		for len(errs) < len(batch) && !n.silent.Load() {
			if n.refuse != nil {
				errs = append(errs, n.refuse)
				continue
			}
			o := n.owner(id)
			if o == nil {
				errs = append(errs, gcpool.ErrNotConnected)
				continue
			}
			outcomes := make(chan []error, 1)
			taken, err := o.stream.Receive(id, batch[len(errs):], func(errs []error) { outcomes <- errs })
			switch {
			case taken > 0:
				errs = append(errs, <-outcomes...)
			case errors.Is(err, context.Canceled): // full
				time.Sleep(time.Millisecond)
			default: // it has left since
				errs = append(errs, gcpool.ErrMoved)
			}
			for len(errs) > 0 && errs[len(errs)-1] != nil && len(errs) < len(batch) { // none may overtake
				errs = append(errs, gcpool.ErrMoved)
			}
		}
		if len(errs) < len(batch) {
			return
		}
		time.Sleep(n.delay)
		done(errs)
		done(errs) // once too often does nothing
	}()
}

func (n *node) Broadcast(_ string, data []byte) error {
	for _, o := range n.nodes {
		if o == n {
			continue
		}
		if _, err := o.stream.Receive("", [][]byte{data}, nil); err != nil {
			return err
		}
	}
	return nil
}

// TestForward: a push reaches the process where the id is connected, in order,
// and its outcome comes back.
func TestForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bus{delay: time.Millisecond}
		r := new(reports)
		near, far := b.join(t, gcpool.WithUndelivered(r.hook), gcpool.WithOutbox(100)), b.join(t)
		peer := bufio.NewReader(pipe(t, far.conns, "a"))
		var want []string
		for i := range 100 {
			want = append(want, fmt.Sprint(i))
		}
		go func() {
			for _, text := range want {
				near.stream.Add("a", []byte(text))
			}
		}()
		equal(t, "received", lines(t, peer, 100), want)
		go peer.ReadString('\n')
		if err := near.stream.Deliver(t.Context(), "a", []byte("x")); err != nil {
			t.Error(err)
		}
		if err := near.stream.Deliver(t.Context(), "nobody", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
			t.Errorf("Deliver to nobody: %v", err)
		}
		synctest.Wait()
		equal(t, "undelivered", r.take(t, nil), nil)
		if s := settled(t, near.pool); s.Forwarded != 101 || s.Written != 0 {
			t.Errorf("forwarded %d, want 101; written %d, want 0", s.Forwarded, s.Written)
		}
		if s := settled(t, far.pool); s.Written != 101 {
			t.Errorf("written %d, want 101", s.Written)
		}
	})
}

// TestForwardWithoutOutcome: what the cluster answers is the outcome; and while
// it answers nothing, Add waits at the bound, and Shutdown ends all the same.
func TestForwardWithoutOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("lost on the way")
		b, r := &bus{refuse: lost}, new(reports)
		n := b.join(t, gcpool.WithUndelivered(r.hook), gcpool.WithOutbox(100))
		add(t, n.stream, "a", "1")
		synctest.Wait()
		equal(t, "undelivered", r.take(t, lost), []string{"a 1"})
		if s := settled(t, n.pool); s.Other != 1 {
			t.Errorf("Stats.Other is %d, want 1", s.Other)
		}
		n.silent.Store(true)
		for range 2 {
			add(t, n.stream, "a", string(make([]byte, 50)))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := n.stream.AddContext(ctx, "a", []byte("3")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Add beyond the bound: %v", err)
		}
		add(t, n.stream, "b", "other ids have room")
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var full error
		for i := 0; i < 1000 && full == nil; i++ {
			full = n.stream.AddContext(ctx, fmt.Sprint("user", i), []byte("x"))
		}
		if !errors.Is(full, context.DeadlineExceeded) {
			t.Error("any number of messages may be on their way")
		}
		if err := shutdown(n.pool, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		settled(t, n.pool)
		r.take(t, gcpool.ErrClosed)
	})
}

// TestMailboxFollows: a message for an id that is nowhere waits where it was
// pushed, and goes where the id appears.
func TestMailboxFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bus)
		near, far := b.join(t, gcpool.WithMailbox(time.Minute, 1000)), b.join(t)
		for i := range 3 {
			add(t, near.stream, "a", fmt.Sprint(i))
			synctest.Wait()
		}
		peer := bufio.NewReader(pipe(t, far.conns, "a"))
		equal(t, "received", lines(t, peer, 3), []string{"0", "1", "2"})
		add(t, near.stream, "b", "here")
		equal(t, "received", lines(t, bufio.NewReader(pipe(t, near.conns, "b")), 1), []string{"here"})
		synctest.Wait()
		settled(t, near.pool)
	})
}

// TestLeavingTheCluster: what was on its way is reported, and later messages are
// as without a cluster.
func TestLeavingTheCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := new(bus), new(reports)
		n := b.join(t, gcpool.WithUndelivered(r.hook))
		b.delay = time.Second
		add(t, n.stream, "a", "under way")
		synctest.Wait()
		add(t, n.stream, "a", "behind")
		if err := n.pool.SetCluster(nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		equal(t, "undelivered", r.take(t, gcpool.ErrNotConnected), []string{"a behind"})
		time.Sleep(3 * time.Second)
		add(t, n.stream, "a", "later")
		synctest.Wait()
		equal(t, "undelivered", r.take(t, gcpool.ErrNotConnected), []string{"a under way", "a later"})
		settled(t, n.pool)
	})
}

// TestBroadcastEverywhere: each process counts what it reaches.
func TestBroadcastEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bus)
		one, two := b.join(t), b.join(t)
		peers := []net.Conn{pipe(t, one.conns, "a"), pipe(t, two.conns, "b")}
		if err := one.stream.Broadcast([]byte("all")); err != nil {
			t.Fatal(err)
		}
		for _, peer := range peers {
			equal(t, "received", lines(t, bufio.NewReader(peer), 1), []string{"all"})
		}
		synctest.Wait()
		if a, b := settled(t, one.pool), settled(t, two.pool); a.Accepted != 1 || b.Accepted != 1 {
			t.Errorf("accepted %d and %d, want 1 each", a.Accepted, b.Accepted)
		}
	})
}

// TestMovingUser: a user who moves between processes gets each message once and
// in order, whether it was pushed near or far, and what waited follows.
func TestMovingUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bus{delay: time.Millisecond}
		var lost atomic.Int64
		count := gcpool.WithUndelivered(func(u gcpool.Undelivered) {
			if !errors.Is(u.Err, gcpool.ErrNotConnected) {
				t.Errorf("%q: %v", u.Data, u.Err)
			}
			lost.Add(1)
		})
		nodes := []*node{b.join(t, count), b.join(t, count), b.join(t, count)}
		pipe(t, nodes[0].conns, "a") // never reads: all that waits must follow

		const messages = 2000
		var wg sync.WaitGroup
		for p, n := range nodes {
			wg.Go(func() {
				for i := range messages {
					add(t, n.stream, "a", fmt.Sprintf("%d %d", p, i))
					if i%10 == 0 {
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		var got [20][]string // what came over each connection
		for i := range got {
			time.Sleep(7 * time.Millisecond)
			peer := pipe(t, nodes[(i+1)%len(nodes)].conns, "a")
			wg.Go(func() {
				for lines := bufio.NewScanner(peer); lines.Scan(); {
					got[i] = append(got[i], lines.Text())
				}
			})
		}
		time.Sleep(time.Minute)
		for _, n := range nodes {
			shutdown(n.pool, time.Second)
			settled(t, n.pool)
		}
		wg.Wait()
		received := inOrder(t, slices.Concat(got[:]...), len(nodes))
		if n := received + int(lost.Load()); n != len(nodes)*messages {
			t.Errorf("%d received and %d reported, of %d", received, lost.Load(), len(nodes)*messages)
		}
		if lost.Load() > 100 { // one that was cut in the middle, at most, a move
			t.Errorf("%d were lost", lost.Load())
		}
	})
}

// inOrder checks lines that tell their producer and its number, and returns how many
// there are.
func inOrder(t *testing.T, lines []string, producers int) int {
	t.Helper()
	last := slices.Repeat([]int{-1}, producers)
	for _, line := range lines {
		var p, i int
		if fmt.Sscan(line, &p, &i); i <= last[p] {
			t.Errorf("%d of producer %d came after %d", i, p, last[p])
		}
		last[p] = i
	}
	return len(lines)
}
