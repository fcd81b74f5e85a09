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

// TestMailboxOfOneIDMayBeLargerThanItsOutbox: for an id that is away, the mailbox's limit
// applies, not the outbox's.
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
			t.Errorf("Add waited %v for room in an outbox that no connection empties", d)
		}
		equal(t, "received", lines(t, bufio.NewReader(pipe(t, conns, "a")), 50), want)
	})
}

// TestWaitingAddGoesOnAtOnce: an Add that waits for room continues as
// soon as there is room, not at its next check.
func TestWaitingAddGoesOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithOutbox(1000))
		go io.Copy(io.Discard, pipe(t, conns, "a"))
		start, data := time.Now(), strings.Repeat("x", 500)
		for range 1000 {
			add(t, stream, "a", data)
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("1,000 messages took %v, though the peer reads at once", d)
		}
	})
}

// TestOutboxOfEmptyMessagesIsFullAsWell: an outbox also has a limit
// in messages, which applies even if they are empty.
func TestOutboxOfEmptyMessagesIsFullAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithOutbox(100), gcpool.WithOverflow(gcpool.DropNewest))
		pipe(t, conns, "a")
		add(t, stream, "a", "")
		time.Sleep(2 * time.Second) // the peer does not read
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

// TestMailFillsNoOutbox: the mail of an id that is away takes no room in its outbox, neither in
// bytes nor in messages. An Add does not wait for the cluster's answer to the previous one.
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
				t.Errorf("%d Adds of %d bytes and 50 of one byte took %v, though the id has only mail", letters, size, d)
			}
		})
	}
}

// TestOnlyWhatIsOnItsWayFillsTheWay: only messages that are being forwarded count toward the
// limit on forwarding. Mail does not count, nor do messages that wait for a connection here.
func TestOnlyWhatIsOnItsWayFillsTheWay(t *testing.T) {
	const ids, outbox = 200, 1000 // so 125 messages may be forwarded at once
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
					pipe(t, conns, id) // its peer reads nothing
				} else {
					time.Sleep(2 * time.Second)
				}
			}
		})
	}
}
