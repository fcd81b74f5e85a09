package delivery_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// lagging is a connection that takes d for each write.
type lagging struct {
	net.Conn
	d time.Duration
}

func (l lagging) Write(p []byte) (int, error) {
	time.Sleep(l.d)
	return len(p), nil
}

// TestLatencyHasItsSum: one write in 64 is timed, by a clock that is exact in this test.
func TestLatencyHasItsSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := gcpool.NewPool(gcpool.WithLogger(slog.New(slog.DiscardHandler)))
		if err := pool.Register("a"); err != nil {
			t.Fatal(err)
		}
		pool.Start()
		near, far := net.Pipe()
		go io.Copy(io.Discard, far)
		const d, timed = 3 * time.Millisecond, 5
		if err := pool.GetConn("a").Add("alice", lagging{near, d}); err != nil {
			t.Fatal(err)
		}
		for range timed * 64 {
			if err := pool.GetStream("a").Deliver(t.Context(), "alice", []byte("hi")); err != nil {
				t.Fatal(err)
			}
		}
		want := [16]uint64{5: timed} // up to 100 µs << 5 = 3.2 ms
		if s := pool.Stats()[0]; s.Latency != want || s.LatencySum != timed*d {
			t.Errorf("latency %v, together %v; want %v, %v", s.Latency, s.LatencySum, want, timed*d)
		}
		if err := pool.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestLimitsAreTheOptions(t *testing.T) {
	pool := gcpool.NewPool(gcpool.WithOutbox(4096))
	for name, opt := range map[string]gcpool.Option{
		"a without":         nil,
		"b with":            gcpool.WithMailbox(time.Minute, 700),
		"c without a ttl":   gcpool.WithMailbox(0, 700),
		"d without a bound": gcpool.WithMailbox(time.Minute, 0),
	} {
		if err := pool.Register(name, opt); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []int{0, 700, 0, 0} {
		if s := pool.Stats()[i]; s.OutboxLimit != 4096 || s.MailboxLimit != want {
			t.Errorf("%s mailbox: limits are %d and %d, want 4096 and %d", s.Name, s.OutboxLimit, s.MailboxLimit, want)
		}
	}
}
