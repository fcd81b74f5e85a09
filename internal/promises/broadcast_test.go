package promises

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

func TestBroadcastDoesNotKeepOthersWaitingForAFullOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream, _ := full(t, 0, gcpool.WithOverflow(gcpool.DropNewest))
		other := bufio.NewReader(pipe(t, conns, "b"))
		start := time.Now()
		done := make(chan error)
		go func() { done <- stream.Broadcast([]byte("to all")) }()
		equal(t, "the other peer", lines(t, other, 1), []string{"to all"})
		within(t, "the other peer was served", start, 0, watch) // watch is 0 with two processors
		if err := <-done; err != nil {
			t.Error(err)
		}
		within(t, "Broadcast gave up the full outbox", start, time.Second, watch)
	})
}

// TestBroadcastComesBackToFullOutboxes: two outboxes are full. The fast peer gets the Broadcast
// without waiting for the slow one.
func TestBroadcastComesBackToFullOutboxes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, s := started(t, gcpool.WithOutbox(1000))
		slow, fast := pipe(t, c, "slow"), pipe(t, c, "fast")
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			for buf := make([]byte, 50); ; time.Sleep(900 * time.Millisecond) {
				if _, err := io.ReadFull(slow, buf); err != nil {
					return
				}
			}
		}()
		for range 20 {
			add(t, s, "slow", strings.Repeat("x", 49))
			add(t, s, "fast", strings.Repeat("x", 49))
		}
		done := make(chan error, 1)
		go func() { done <- s.Broadcast(make([]byte, 50)) }()
		synctest.Wait()
		start, r := time.Now(), bufio.NewReader(fast)
		lines(t, r, 21)
		within(t, "the fast peer was served", start, 0, time.Second)
		if err := <-done; err != nil {
			t.Error(err)
		}
		slow.Close()
		<-gone
	})
}

// TestBroadcastLeavesNothingInTheMailbox: a Broadcast is only for ids that are
// connected.
func TestBroadcastLeavesNothingInTheMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1000))
		add(t, stream, "away", "letter")
		if err := stream.Broadcast([]byte("all")); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats()[0]; s.Accepted != 1 || s.Waiting != 1 {
			t.Errorf("the Broadcast was accepted for an id: %+v", s)
		}
		peer := bufio.NewReader(pipe(t, conns, "away"))
		go stream.Add("away", []byte("later"))
		equal(t, "received", lines(t, peer, 2), []string{"letter", "later"})
	})
}

// TestBroadcastContext: ids with room get the message. Ids without room when the
// context ends do not.
func TestBroadcastContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithOutbox(10))
		full := pipe(t, conns, "full")
		add(t, stream, "full", "0123456789")
		peer := bufio.NewReader(pipe(t, conns, "a"))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := stream.BroadcastContext(ctx, []byte("all")); err != context.DeadlineExceeded || time.Since(start) > 102*time.Millisecond {
			t.Errorf("BroadcastContext: %v after %v", err, time.Since(start))
		}
		equal(t, "received", lines(t, peer, 1), []string{"all"})
		equal(t, "received", lines(t, bufio.NewReader(full), 1), []string{"0123456789"})
		if err := stream.BroadcastContext(ctx, []byte("no more")); err != context.DeadlineExceeded {
			t.Errorf("BroadcastContext with a context that has ended: %v", err)
		}
		synctest.Wait()
		if s := settled(t, p); s.Accepted != 2 {
			t.Errorf("%+v", s)
		}
		var none *gcpool.StreamPool
		var noContext context.Context
		for err, want := range map[error]error{
			none.BroadcastContext(t.Context(), nil):                 gcpool.ErrNotRegistered,
			stream.BroadcastContext(noContext, nil):                 gcpool.ErrInvalid,
			stream.BroadcastContext(t.Context(), make([]byte, 100)): gcpool.ErrTooLarge,
		} {
			if !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		}
	})
}

// A hung cluster blocks in Broadcast until the test releases it.
type hung struct {
	*node
	free chan bool
	got  chan string
}

func (h hung) Broadcast(_ string, data []byte) error {
	<-h.free
	h.got <- string(data)
	return nil
}

// TestBroadcastContextOfAClusterThatHangs: BroadcastContext returns when its context ends. The
// cluster has a copy of the data, so the caller can reuse it.
func TestBroadcastContextOfAClusterThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		h := hung{&node{bus: &bus{owners: map[string]owner{}}, pool: p, conns: conns, stream: stream}, make(chan bool), make(chan string)}
		p.SetCluster(h)
		peer := bufio.NewReader(pipe(t, conns, "a"))
		data := []byte("all")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := stream.BroadcastContext(ctx, data); err != context.DeadlineExceeded {
			t.Errorf("BroadcastContext: %v", err)
		}
		equal(t, "received", lines(t, peer, 1), []string{"all"})
		copy(data, "new")
		close(h.free)
		equal(t, "the cluster received", []string{<-h.got}, []string{"all"})
	})
}

// TestBroadcastWaitsForNobodyWhoIsAway: a Broadcast does not wait for an id that is away,
// however long the cluster takes to forward a message for it.
func TestBroadcastWaitsForNobodyWhoIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithOutbox(10))
		free := make(chan bool)
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) { <-free; done(all(len(batch), nil)) }})
		defer close(free)
		add(t, stream, "away", "0123456789")
		synctest.Wait()
		peer := pipe(t, conns, "here")
		go io.Copy(io.Discard, peer)
		ended := make(chan error, 1)
		go func() { ended <- stream.Broadcast([]byte("all")) }()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("Broadcast has waited a minute for an id that is away")
			free <- true
			<-ended
		}
	})
}

// TestBroadcastWaitsForNoMail: a Broadcast does not wait for an id that is away and has mail,
// even while the cluster is being asked about that id.
func TestBroadcastWaitsForNoMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithOutbox(1000), gcpool.WithMailbox(time.Hour, 1<<20))
		hang := false
		free := make(chan bool)
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			if hang {
				<-free
			}
			done(all(len(batch), gcpool.ErrNotConnected))
		}})
		for range 10 {
			add(t, stream, "away", string(make([]byte, 100)))
			synctest.Wait()
		}
		hang = true
		add(t, stream, "away", "x")
		synctest.Wait()
		peer := pipe(t, conns, "here")
		go io.Copy(io.Discard, peer)
		ended := make(chan error, 1)
		go func() { ended <- stream.Broadcast([]byte("all")) }()
		time.Sleep(time.Minute)
		select {
		case <-ended:
		default:
			t.Error("Broadcast has waited for a minute")
		}
		close(free)
	})
}

// TestBroadcastEverywhere: a Broadcast reaches the connections of
// every process, and each process counts its own.
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

// slowBus is a cluster with a slow Broadcast.
type slowBus struct {
	stuck
	d time.Duration
}

func (b slowBus) Broadcast(string, []byte) error { time.Sleep(b.d); return nil }

// TestBroadcastHereFirst: local ids with room get a Broadcast at once, even if the cluster is slow.
func TestBroadcastHereFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		p.SetCluster(slowBus{d: 20 * time.Second})
		peer, start := bufio.NewReader(pipe(t, conns, "a")), time.Now()
		done := make(chan error, 1)
		go func() { done <- stream.Broadcast([]byte("all")) }()
		equal(t, "received", lines(t, peer, 1), []string{"all"})
		if d := time.Since(start); d > 0 {
			t.Errorf("received after %v", d)
		}
		if err := <-done; err != nil || time.Since(start) != 20*time.Second {
			t.Errorf("Broadcast: %v after %v", err, time.Since(start))
		}
	})
}
