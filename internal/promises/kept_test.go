package promises

import (
	"bufio"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestDeliverToAnIDThatIsAway does not wait where there is a mailbox, and what becomes of
// the message is reported.
func TestDeliverToAnIDThatIsAway(t *testing.T) {
	for _, cluster := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := new(reports)
			p, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 100), gcpool.WithUndelivered(r.hook))
			trip := time.Duration(0)
			if cluster {
				b := &bus{delay: time.Second, owners: map[string]owner{}}
				trip = 2 * b.delay
				p.SetCluster(&node{bus: b, pool: p, conns: conns, stream: stream})
			}
			deliver := func(data string) {
				t.Helper()
				start := time.Now()
				if err := stream.Deliver(t.Context(), "a", []byte(data)); err != gcpool.ErrKept || time.Since(start) != trip {
					t.Errorf("Deliver: %v after %v", err, time.Since(start))
				}
			}
			deliver("1")
			time.Sleep(59 * time.Second)
			deliver("2")
			time.Sleep(5 * time.Second)
			equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"a 1"})
			deliver("3")
			if s := p.Stats()[0]; s.Waiting != 2 || s.Undelivered != 1 {
				t.Errorf("%+v", s)
			}
			peer := bufio.NewReader(pipe(t, conns, "a"))
			equal(t, "received", lines(t, peer, 2), []string{"2", "3"})
			go peer.ReadString('\n')
			if err := stream.Deliver(t.Context(), "a", []byte("4")); err != nil {
				t.Errorf("Deliver to who is here: %v", err)
			}
			conns.Del("a")
			if err := stream.Deliver(t.Context(), "a", make([]byte, 101)); errors.Is(err, gcpool.ErrKept) || err == nil {
				t.Errorf("Deliver of more than the mailbox takes: %v", err)
			}
			settled(t, p)
		})
	}
}

// TestDeliverWhoseConnectionGoes returns when its message is kept, and takes no more room
// than another.
func TestDeliverWhoseConnectionGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const outbox = 1000 // and 1274 messages, where a Deliver counts as 50
		p, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 1<<20), gcpool.WithOutbox(outbox))
		pipe(t, conns, "a") // takes nothing
		add(t, stream, "a", "0")
		synctest.Wait()
		const messages = 20
		kept := make(chan error, messages)
		for range messages {
			go func() { kept <- stream.Deliver(t.Context(), "a", []byte("x")) }()
		}
		synctest.Wait()
		conns.Del("a")
		for range messages {
			if err := <-kept; err != gcpool.ErrKept {
				t.Fatalf("Deliver: %v", err)
			}
		}
		peer := pipe(t, conns, "a") // takes nothing either
		for range outbox - 200 {
			add(t, stream, "a", "y")
		}
		lines(t, bufio.NewReader(peer), 1+messages+outbox-200)
		synctest.Wait()
		settled(t, p)
	})
}

// TestBroadcastContext: who has room gets it, and who has none by the end of the context
// has not accepted it.
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
			t.Errorf("BroadcastContext after its end: %v", err)
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

// A hung is a cluster whose Broadcast waits until it is let go.
type hung struct {
	*node
	free chan bool
}

func (h hung) Broadcast(string, []byte) error { <-h.free; return nil }

// TestBroadcastContextOfAClusterThatHangs ends with its context.
func TestBroadcastContextOfAClusterThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		h := hung{&node{bus: &bus{owners: map[string]owner{}}, pool: p, conns: conns, stream: stream}, make(chan bool)}
		p.SetCluster(h)
		peer := bufio.NewReader(pipe(t, conns, "a"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := stream.BroadcastContext(ctx, []byte("all")); err != context.DeadlineExceeded {
			t.Errorf("BroadcastContext: %v", err)
		}
		equal(t, "received", lines(t, peer, 1), []string{"all"})
		close(h.free)
	})
}
