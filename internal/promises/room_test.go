package promises

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// An id that is away may have as much in the mailbox as fits there.
func TestMailboxOfOneIDMayBeLargerThanItsOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 5000), gcpool.WithOutbox(100))
		start := time.Now()
		var want []string
		for i := range 50 {
			want = append(want, fmt.Sprintf("%0100d", i))
			add(t, stream, "a", want[i])
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("Add waited %v for room in an outbox that nobody empties", d)
		}
		equal(t, "received", lines(t, bufio.NewReader(pipe(t, conns, "a")), 50), want)
	})
}

// An Add that waits for room goes on when there is some, not when it looks again.
func TestWaitingAddGoesOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithOutbox(1000))
		go io.Copy(io.Discard, pipe(t, conns, "a"))
		start, data := time.Now(), strings.Repeat("x", 500)
		for range 1000 {
			add(t, stream, "a", data)
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("the peer takes all at once, and 1,000 messages took %v", d)
		}
	})
}

// An outbox takes so many messages at most, also when they have no bytes.
func TestOutboxOfEmptyMessagesIsFullAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithOutbox(100), gcpool.WithOverflow(gcpool.DropNewest))
		pipe(t, conns, "a")
		add(t, stream, "a", "")
		time.Sleep(2 * time.Second) // it does not read
		for range 10_000 {
			add(t, stream, "a", "")
		}
		synctest.Wait()
		if s := p.Stats()[0]; s.Waiting > 1100 || s.Slow < 8000 {
			t.Errorf("%d wait in an outbox of 100 bytes, %d gave way", s.Waiting, s.Slow)
		}
		shutdown(p, time.Millisecond)
	})
}

// TestMailFillsNoOutbox, by its bytes or by its number: an Add waits for no answer to the
// one before.
func TestMailFillsNoOutbox(t *testing.T) {
	for size, letters := range map[int]int{100: 11, 0: 1300} {
		synctest.Test(t, func(t *testing.T) {
			p, _, stream := started(t, gcpool.WithOutbox(1000), gcpool.WithMailbox(time.Minute, 1<<20))
			delay := time.Duration(0)
			p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
				go func() { time.Sleep(delay); done(all(len(batch), gcpool.ErrNotConnected)) }()
			}})
			start := time.Now()
			for range letters {
				add(t, stream, "a", string(make([]byte, size)))
				synctest.Wait()
			}
			delay = 100 * time.Millisecond
			for range 50 {
				add(t, stream, "a", "x")
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("%d Adds of %d bytes, and 50 of one, for an id with nothing but mail took %v", letters, size, d)
			}
		})
	}
}

// TestOnlyWhatIsOnItsWayFillsTheWay: not what has come back to the mailbox, nor what waits
// for a connection that has come here meanwhile.
func TestOnlyWhatIsOnItsWayFillsTheWay(t *testing.T) {
	const ids, outbox = 200, 1000 // and room for 125 of them on the way
	for _, here := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p, conns, stream := started(t, gcpool.WithOutbox(outbox), gcpool.WithMailbox(time.Hour, 1<<20))
			p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
				time.AfterFunc(time.Second, func() { done(all(len(batch), gcpool.ErrNotConnected)) })
			}})
			for i := range ids {
				id, start := fmt.Sprint(i), time.Now()
				add(t, stream, id, "x")
				if d := time.Since(start); d > 0 {
					t.Fatalf("Add %d waited for %v", i, d)
				}
				if synctest.Wait(); here {
					pipe(t, conns, id) // takes nothing
				} else {
					time.Sleep(2 * time.Second)
				}
			}
		})
	}
}
