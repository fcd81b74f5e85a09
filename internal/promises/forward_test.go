package promises

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestForward: a push reaches the process where the id is connected, in order, and the
// outcome comes back.
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

// TestForwardWithoutOutcome: the cluster's answer is the outcome of a message. Until it comes,
// Add waits once its limit is reached, and Shutdown still ends.
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
			t.Error("the number of messages being forwarded has no bound")
		}
		if err := shutdown(n.pool, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		settled(t, n.pool)
		r.take(t, gcpool.ErrClosed)
	})
}

// curt is a cluster that reports one outcome, however many messages there are.
type curt struct{ stuck }

func (curt) Forward(_, _ string, _ [][]byte, done func([]error)) { done([]error{nil}) }

// TestMissingOutcomesAreErrors: a message whose outcome the cluster has not reported may not have
// been written.
func TestMissingOutcomesAreErrors(t *testing.T) {
	r := new(reports)
	pool := gcpool.NewPool(gcpool.WithUndelivered(r.hook))
	pool.Register("default")
	pool.SetCluster(curt{})
	for range 3 {
		add(t, pool.GetStream("default"), "a", "x")
	}
	if err := shutdown(pool, time.Minute); err != nil {
		t.Error(err)
	}
	if s := settled(t, pool); s.Forwarded != 1 || s.Other != 2 {
		t.Errorf("%d were forwarded, and %d failed; want 1 and 2", s.Forwarded, s.Other)
	}
}

// stuck is a cluster that blocks in Forward until the test releases it.
type stuck struct{ free chan struct{} }

func (s stuck) Changed(_, _ string)                {}
func (s stuck) Broadcast(_ string, _ []byte) error { return nil }

func (s stuck) Forward(_, _ string, batch [][]byte, done func([]error)) {
	<-s.free
	done(make([]error, len(batch)))
}

// TestForwardThatBlocks: a Forward that blocks delays no other id.
func TestForwardThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, conns, stream := started(t)
		s := stuck{make(chan struct{})}
		if err := pool.SetCluster(s); err != nil {
			t.Fatal(err)
		}
		peer := bufio.NewReader(pipe(t, conns, "here"))
		for i := range 100 {
			add(t, stream, fmt.Sprint("elsewhere", i), "x")
		}
		add(t, stream, "here", "local")
		equal(t, "received", lines(t, peer, 1), []string{"local"})
		close(s.free)
		synctest.Wait()
		if st := settled(t, pool); st.Forwarded != 100 {
			t.Errorf("forwarded %d, want 100", st.Forwarded)
		}
	})
}

// An answering cluster calls a function for each Forward.
type answering struct {
	forward func(id string, batch [][]byte, done func([]error))
}

func (a *answering) Changed(_, _ string) {}
func (a *answering) Forward(_, id string, batch [][]byte, done func([]error)) {
	a.forward(id, batch, done)
}
func (a *answering) Broadcast(string, []byte) error { return nil }

// all returns n errors that are all err.
func all(n int, err error) (errs []error) {
	for range n {
		errs = append(errs, err)
	}
	return errs
}

// TestRemovalBehindABatch: an id connects, and its connection is removed, while a batch of its
// messages is being forwarded. The messages that waited behind the batch are reported after it.
func TestRemovalBehindABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, free := new(reports), make(chan bool)
		p, conns, stream := started(t, gcpool.WithUndelivered(r.hook))
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			<-free
			done(all(len(batch), gcpool.ErrDeleted))
		}})
		add(t, stream, "a", "1")
		synctest.Wait()
		pipe(t, conns, "a")
		add(t, stream, "a", "2")
		conns.Kick("a", 1000, "")
		synctest.Wait()
		equal(t, "reported before the batch has come back", r.take(t, nil), nil)
		close(free)
		synctest.Wait()
		equal(t, "reported", r.take(t, gcpool.ErrDeleted), []string{"a 1", "a 2"})
		settled(t, p)
	})
}

// TestMovedWhenTheClusterHasGone: a message whose outcome is ErrMoved would be forwarded again.
// If the cluster has been removed in the meantime, its outcome is ErrMoved.
func TestMovedWhenTheClusterHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, stream := started(t)
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			time.AfterFunc(time.Second, func() { done(all(len(batch), gcpool.ErrMoved)) })
		}})
		outcome := make(chan error, 1)
		go func() { outcome <- stream.Deliver(t.Context(), "a", []byte("x")) }()
		synctest.Wait()
		p.SetCluster(nil)
		if err := <-outcome; err != gcpool.ErrMoved {
			t.Errorf("Deliver: %v", err)
		}
		settled(t, p)
	})
}

// TestWhatIsBehindAFailureIsForwarded: when a batch fails, the messages behind it are forwarded
// even if nothing more is pushed.
func TestWhatIsBehindAFailureIsForwarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outage, r := errors.New("NATS lost"), new(reports)
		b := &bus{delay: time.Second, refuse: outage}
		near := b.join(t, gcpool.WithUndelivered(r.hook))
		for range 4 { // too many for one batch
			add(t, near.stream, "a", string(make([]byte, 40<<10)))
		}
		time.Sleep(time.Minute)
		if n := len(r.take(t, outage)); n != 4 {
			t.Errorf("%d of 4 were reported", n)
		}
		settled(t, near.pool)
	})
}

// TestPushBehindADyingWriteAsks: a push that waits for the write of a removed connection asks
// the cluster as soon as that write has ended.
func TestPushBehindADyingWriteAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		var mu sync.Mutex
		asked := 0
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			mu.Lock()
			asked++
			mu.Unlock()
			done(all(len(batch), nil))
		}})
		pipe(t, conns, "a") // its peer reads nothing
		add(t, stream, "a", "0")
		add(t, stream, "a", "1")
		synctest.Wait()
		if !conns.Del("a") {
			t.Fatal()
		}
		add(t, stream, "a", "for elsewhere") // the id is or will soon be connected elsewhere
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if s := p.Stats()[0]; asked == 0 {
			t.Errorf("a push to an id that is away was never forwarded: %+v", s)
		}
	})
}

// TestMovedMayBeWrapped: a message is forwarded again even if the
// Cluster's error only wraps ErrMoved.
func TestMovedMayBeWrapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, stream := started(t)
		c := &answers{all: []error{fmt.Errorf("node b: %w", gcpool.ErrMoved), nil}}
		if err := p.SetCluster(c); err != nil {
			t.Fatal(err)
		}
		if err := stream.Deliver(t.Context(), "a", []byte("x")); err != nil || len(c.all) != 0 {
			t.Errorf("Deliver: %v; %d answers are left", err, len(c.all))
		}
	})
}

// answers is a Cluster that gives one of its answers to each batch.
type answers struct{ all []error }

func (a *answers) Changed(string, string) {}

func (a *answers) Broadcast(string, []byte) error { return nil }

func (a *answers) Forward(_, _ string, batch [][]byte, done func([]error)) {
	err := a.all[0]
	a.all = a.all[1:]
	done(slices.Repeat([]error{err}, len(batch)))
}
