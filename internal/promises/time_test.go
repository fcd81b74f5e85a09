package promises

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// watch is how late the pool may notice that a write is stuck.
const watch = 10 * time.Millisecond

// within fails unless the time since start is d, or up to slack more.
func within(t *testing.T, what string, start time.Time, d, slack time.Duration) {
	t.Helper()
	if took := time.Since(start); took < d || took > d+slack {
		t.Errorf("%s after %v, want %v", what, took, d)
	}
}

func TestPeerThatTakesNothingIsClosedAfterTheWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithWriteTimeout(3*time.Second), gcpool.WithUndelivered(r.hook))
		stalled, reading := pipe(t, conns, "stalled"), pipe(t, conns, "reading")
		start := time.Now()
		err := make(chan error, 1)
		go func() { err <- stream.Deliver(t.Context(), "stalled", []byte("1")) }()
		synctest.Wait()
		add(t, stream, "stalled", "2")
		add(t, stream, "reading", "3")
		equal(t, "the other peer", lines(t, bufio.NewReader(reading), 1), []string{"3"})
		if got := <-err; !errors.Is(got, gcpool.ErrSlow) {
			t.Errorf("Deliver: %v, want ErrSlow", got)
		}
		within(t, "closed", start, 3*time.Second, watch)
		synctest.Wait()
		if _, err := stalled.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is still open")
		}
		equal(t, "undelivered", r.take(t, gcpool.ErrSlow), []string{"stalled 2"})
		if conns.Len() != 1 {
			t.Errorf("Len is %d, want only the reading peer", conns.Len())
		}
		settled(t, p)
	})
}

func TestSlowReaderIsNotClosedWhileItReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithWriteTimeout(time.Second))
		peer := pipe(t, conns, "slow")
		for i := range 30 {
			add(t, stream, "slow", fmt.Sprint(i))
		}
		r := bufio.NewReaderSize(peer, 16)
		for i := range 30 {
			time.Sleep(900 * time.Millisecond)
			if got := lines(t, r, 1)[0]; got != fmt.Sprint(i) {
				t.Fatalf("got %q, want %d", got, i)
			}
		}
	})
}

// full fills the outbox of a peer that reads nothing with ten messages, of
// which the first is on its way, and waits until it has been stalled for d.
func full(t *testing.T, d time.Duration, opts ...gcpool.Option) (*gcpool.Pool, *gcpool.ConnPool, *gcpool.StreamPool, net.Conn) {
	t.Helper()
	p, conns, stream := started(t, append(opts, gcpool.WithOutbox(100))...)
	peer := pipe(t, conns, "a")
	for i := range 10 {
		add(t, stream, "a", fmt.Sprintf("message %02d", i))
		synctest.Wait()
	}
	time.Sleep(d)
	return p, conns, stream, peer
}

func TestFullOutboxWaitsASecondForAPeerThatTookSomething(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		start := time.Now()
		_, _, stream, _ := full(t, 0, gcpool.WithUndelivered(r.hook), gcpool.WithOverflow(gcpool.DropNewest))
		add(t, stream, "a", "message 10")
		within(t, "dropped", start, time.Second, watch)
		add(t, stream, "a", "message 11")
		within(t, "dropped without a wait", start, time.Second, watch)
		synctest.Wait()
		equal(t, "undelivered", r.take(t, gcpool.ErrSlow), []string{"a message 10", "a message 11"})
	})
}

func TestFullOutboxWaitsForAPeerThatReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		_, _, stream, peer := full(t, 0, gcpool.WithUndelivered(r.hook))
		go func() {
			for i := 10; i < 40; i++ {
				add(t, stream, "a", fmt.Sprintf("message %02d", i))
			}
		}()
		in := bufio.NewReaderSize(peer, 16)
		for i := range 40 {
			time.Sleep(800 * time.Millisecond)
			if got, want := lines(t, in, 1)[0], fmt.Sprintf("message %02d", i); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		equal(t, "undelivered", r.take(t, nil), nil)
	})
}

func TestOverflow(t *testing.T) {
	message := func(i int) string { return fmt.Sprintf("a message %02d", i) }
	for _, test := range []struct {
		policy      gcpool.Overflow
		undelivered []string
		received    []int
	}{
		{gcpool.DropNewest, []string{message(10)}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{gcpool.DropOldest, []string{message(1)}, []int{0, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{gcpool.Disconnect, []string{message(0), message(1), message(2), message(3), message(4), message(5),
			message(6), message(7), message(8), message(9), message(10)}, nil},
	} {
		t.Run(fmt.Sprint(test.policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r reports
				p, conns, stream, peer := full(t, 2*time.Second, gcpool.WithOverflow(test.policy), gcpool.WithUndelivered(r.hook))
				start := time.Now()
				add(t, stream, "a", "message 10")
				within(t, "Add returned", start, 0, 0)
				synctest.Wait()
				equal(t, "undelivered", r.take(t, gcpool.ErrSlow), test.undelivered)
				in := bufio.NewReader(peer)
				for _, i := range test.received {
					if got := "a " + lines(t, in, 1)[0]; got != message(i) {
						t.Errorf("received %q, want %q", got, message(i))
					}
				}
				synctest.Wait()
				if want := min(1, len(test.received)); conns.Len() != want {
					t.Errorf("Len is %d, want %d", conns.Len(), want)
				}
				settled(t, p)
			})
		})
	}
}

func TestAddContextEndsAWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, stream, _ := full(t, 0)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := stream.AddContext(ctx, "a", []byte("too much")); err != context.DeadlineExceeded {
			t.Errorf("AddContext: %v", err)
		}
		within(t, "returned", start, 300*time.Millisecond, 0)
		if s := p.Stats()[0]; s.Accepted != 10 || s.Waiting != 10 || s.WaitingBytes != 100 {
			t.Errorf("a message that was refused is counted: %+v", s)
		}
	})
}

func TestBroadcastDoesNotKeepOthersWaitingForAFullOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream, _ := full(t, 0, gcpool.WithOverflow(gcpool.DropNewest))
		other := bufio.NewReader(pipe(t, conns, "b"))
		start := time.Now()
		done := make(chan error)
		go func() { done <- stream.Broadcast([]byte("to all")) }()
		equal(t, "the other peer", lines(t, other, 1), []string{"to all"})
		within(t, "the other peer was served", start, 0, 0)
		if err := <-done; err != nil {
			t.Error(err)
		}
		within(t, "Broadcast gave up the full outbox", start, time.Second, watch)
	})
}

func keys(c *gcpool.ConnPool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for id := range c.All() {
			if !yield(id) {
				return
			}
		}
	}
}
