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

// watch is how long the pool may take to notice that a write is stuck.
const watch = 10 * time.Millisecond

// within fails the test unless d has passed since start, or up to slack more.
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

// full fills the outbox of a peer that reads nothing with ten messages, the first of which is
// being written. It returns once the peer has been stalled for d.
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

func keys(c *gcpool.ConnPool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for id := range c.All() {
			if !yield(id) {
				return
			}
		}
	}
}
