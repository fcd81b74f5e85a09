package promises

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestAppearedOutlastsAPush: an answer from before the id appeared keeps nothing in the
// mailbox, though a message has come since.
func TestAppearedOutlastsAPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		answer := gcpool.ErrNotConnected
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			errs := all(len(batch), answer)
			time.AfterFunc(time.Second, func() { done(errs) })
		}})
		outcome := make(chan error, 1)
		go func() { outcome <- stream.Deliver(t.Context(), "a", []byte("1")) }()
		synctest.Wait()
		answer = nil
		conns.Appeared("a")
		add(t, stream, "a", "2")
		if err := <-outcome; err != nil {
			t.Errorf("Deliver: %v", err)
		}
		time.Sleep(time.Minute)
		settled(t, p)
	})
}

// TestAppearedWhileAWriteEnds: what the write leaves is forwarded, and not kept.
func TestAppearedWhileAWriteEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) { done(all(len(batch), nil)) }})
		pipe(t, conns, "a") // takes nothing
		outcome := make(chan error, 1)
		go func() { outcome <- stream.Deliver(t.Context(), "a", []byte("x")) }()
		synctest.Wait()
		conns.Del("a")
		conns.Appeared("a")
		if err := <-outcome; err != nil {
			t.Errorf("Deliver: %v", err)
		}
		settled(t, p)
	})
}

// TestAppearedKeepsTheTime that a message has in the mailbox, if the id is not there after all.
func TestAppearedKeepsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := &bus{delay: 500 * time.Millisecond}, new(reports)
		near := b.join(t, gcpool.WithMailbox(time.Minute, 1000), gcpool.WithUndelivered(r.hook))
		add(t, near.stream, "a", "1") // kept after 1 s
		time.Sleep(30 * time.Second)
		add(t, near.stream, "a", "2")
		synctest.Wait()
		near.conns.Appeared("a")
		time.Sleep(32 * time.Second)
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"a 1"})
		time.Sleep(time.Minute)
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"a 2"})
		settled(t, near.pool)
	})
}
