package promises

import (
	"bufio"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestDeliverToAnIDThatIsAway: with a mailbox, Deliver does not wait for the id, and
// the outcome of the message is reported to the hook.
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
				t.Errorf("Deliver to an id that is connected: %v", err)
			}
			conns.Del("a")
			if err := stream.Deliver(t.Context(), "a", make([]byte, 101)); errors.Is(err, gcpool.ErrKept) || err == nil {
				t.Errorf("Deliver of a message larger than the mailbox: %v", err)
			}
			settled(t, p)
		})
	}
}

// TestDeliverTellsWhetherItWasAccepted: after ErrNotAccepted a message may be pushed again; without
// it, the message has an outcome, which goes to the hook.
func TestDeliverTellsWhetherItWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reports)
		p, conns, stream := started(t, gcpool.WithOutbox(100), gcpool.WithUndelivered(r.hook))
		pipe(t, conns, "a") // nobody reads
		for i, data := range []string{strings.Repeat("1", 60), strings.Repeat("2", 60)} {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			err := stream.Deliver(ctx, "a", []byte(data))
			cancel()
			if late := errors.Is(err, context.DeadlineExceeded); !late || errors.Is(err, gcpool.ErrNotAccepted) != (i == 1) {
				t.Errorf("message %d: %v", i+1, err)
			}
			if s := p.Stats()[0]; s.Accepted != 1 {
				t.Errorf("%d were accepted, want 1", s.Accepted)
			}
		}
		conns.Del("a")
		time.Sleep(time.Second)
		if got := r.take(t, gcpool.ErrDeleted); len(got) != 1 {
			t.Errorf("%d were reported, want 1", len(got))
		}
	})
}

// TestDeliverWhoseConnectionGoes: Deliver returns when its message goes to the mailbox.
// From then on the message takes no more room than any other.
func TestDeliverWhoseConnectionGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const outbox = 1000 // in bytes; its limit in messages is 1274, and a Deliver counts as 50
		p, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 1<<20), gcpool.WithOutbox(outbox))
		pipe(t, conns, "a") // its peer reads nothing
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
		peer := pipe(t, conns, "a") // this peer reads nothing either
		for range outbox - 200 {
			add(t, stream, "a", "y")
		}
		lines(t, bufio.NewReader(peer), 1+messages+outbox-200)
		synctest.Wait()
		settled(t, p)
	})
}
