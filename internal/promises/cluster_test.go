package promises

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestLeavingTheCluster: SetCluster(nil) reports the messages that were being
// forwarded. Later messages behave as they do without a cluster.
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

// TestMovingUser: a user who moves between processes gets each message once and in
// order, whichever process it was pushed to. Waiting messages follow the user.
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
		pipe(t, nodes[0].conns, "a") // never reads, so every waiting message must follow the user

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
		var got [20][]string // by connection
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
		if lost.Load() > 100 { // each move may cut one message
			t.Errorf("%d were lost", lost.Load())
		}
	})
}

// inOrder checks lines of the form "producer number", and returns how many there are.
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

// TestClusterComesAndGoes: SetCluster may be called at any moment, and every message
// still has an outcome.
func TestClusterComesAndGoes(t *testing.T) {
	pool, _, stream := started(t)
	free := make(chan struct{})
	close(free)
	end := time.Now().Add(300 * time.Millisecond)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				add(t, stream, fmt.Sprint("nobody ", n, i%50), "x")
			}
		})
	}
	for time.Now().Before(end) {
		pool.SetCluster(stuck{free})
		runtime.Gosched()
		pool.SetCluster(nil)
		runtime.Gosched()
	}
	wg.Wait()
	if err := shutdown(pool, 20*time.Second); err != nil {
		t.Error(err)
	}
	settled(t, pool)
}

// TestClusterComesBeforeItsPools: a cluster that is set before Register also serves the new pool.
func TestClusterComesBeforeItsPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := gcpool.NewPool(), stuck{make(chan struct{})}
		close(s.free)
		p.SetCluster(s)
		p.Register(name)
		p.Start()
		if err := p.GetStream(name).Deliver(t.Context(), "far", []byte("x")); err != nil {
			t.Errorf("Deliver: %v", err)
		}
		shutdown(p, time.Second)
	})
}

// A slowCluster blocks in Broadcast until the test releases it.
type slowCluster struct{ hold chan bool }

func (slowCluster) Changed(pool, id string) {}

func (slowCluster) Forward(pool, id string, batch [][]byte, done func([]error)) {
	done(make([]error, len(batch)))
}

func (s slowCluster) Broadcast(pool string, data []byte) error { <-s.hold; return nil }

// A pausing cluster blocks in the first Changed until the test releases it.
type pausing struct {
	slowCluster
	in, hold chan bool
}

func (p pausing) Changed(pool, id string) {
	select {
	case p.in <- true:
		<-p.hold
	default:
	}
}

// TestSetClusterRaced: SetCluster(nil) wins over an earlier SetCluster that has not
// returned.
func TestSetClusterRaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := gcpool.NewPool(gcpool.WithLogger(slog.New(slog.DiscardHandler)))
		for i := range 8 {
			p.Register(fmt.Sprint(i))
			ours, _ := net.Pipe()
			p.GetConn(fmt.Sprint(i)).Add("x", ours)
		}
		p.Start()
		c := pausing{in: make(chan bool, 1), hold: make(chan bool)}
		done := make(chan bool)
		go func() { p.SetCluster(c); close(done) }()
		<-c.in
		synctest.Wait()
		p.SetCluster(nil)
		close(c.hold)
		<-done
		for i := range 8 {
			if err := p.GetStream(fmt.Sprint(i)).Deliver(t.Context(), "elsewhere", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
				t.Errorf("pool %d still forwards after SetCluster(nil): %v", i, err)
			}
		}
		shutdown(p, time.Second)
	})
}

// TestLargestOutboxAndACluster: with the largest possible outbox, the
// limits computed from its size must not overflow.
func TestLargestOutboxAndACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, stream := started(t, gcpool.WithOutbox(math.MaxInt))
		p.SetCluster(slowCluster{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := stream.Deliver(ctx, "a", []byte("x")); err != nil {
			t.Error(err)
		}
	})
}

// TestReceivedBroadcastWaitsForNoHook: Receive of a Broadcast must not wait for a hook, because
// the hook may be waiting for the other process.
func TestReceivedBroadcastWaitsForNoHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p, conns, stream := started(t, gcpool.WithBuffer(1), gcpool.WithUndelivered(func(gcpool.Undelivered) { <-release }))
		peer := pipe(t, conns, "a")
		go io.Copy(io.Discard, peer)
		for range 3 { // one in the hook, and two that wait
			add(t, stream, "nobody", "")
		}
		start := time.Now()
		time.AfterFunc(time.Minute, func() { close(release) })
		if n, err := gcpool.NewLocal(p).Receive(name, "", [][]byte{[]byte("all")}, nil); n != 1 || err != nil || time.Since(start) > 0 {
			t.Errorf("Receive took %d, %v, after %v", n, err, time.Since(start))
		}
		<-release
		shutdown(p, time.Second)
	})
}
