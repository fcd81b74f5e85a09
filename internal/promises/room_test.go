package promises

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// A Broadcast is for those who are connected, not for a mailbox.
func TestBroadcastLeavesNothingInTheMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1000))
		add(t, stream, "away", "letter")
		if err := stream.Broadcast([]byte("all")); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats()[0]; s.Accepted != 1 || s.Waiting != 1 {
			t.Errorf("accepted for somebody: %+v", s)
		}
		peer := bufio.NewReader(pipe(t, conns, "away"))
		go stream.Add("away", []byte("later"))
		equal(t, "received", lines(t, peer, 2), []string{"letter", "later"})
	})
}

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

// What was added before Start does not wait for room once more, so that one full
// outbox does not hold up the others.
func TestStartIsNotHeldUpByAFullOutbox(t *testing.T) {
	for _, overflow := range []gcpool.Overflow{gcpool.Disconnect, gcpool.DropOldest, gcpool.DropNewest} {
		synctest.Test(t, func(t *testing.T) {
			p := gcpool.NewPool(gcpool.WithOutbox(100), gcpool.WithOverflow(overflow))
			p.Register(name)
			conns, stream := p.GetConn(name), p.GetStream(name)
			slow := pipe(t, conns, "slow")
			var want []string
			for i := range 10 {
				want = append(want, fmt.Sprintf("%060d", i))
				add(t, stream, "slow", want[i])
			}
			startsAtOnce(t, p)
			equal(t, "slow", lines(t, bufio.NewReader(slow), 10), want)
			shutdown(p, time.Second)
		})
	}
}

// startsAtOnce starts p, after one more message for somebody else, and has that come
// without any time gone by.
func startsAtOnce(t *testing.T, p *gcpool.Pool) {
	t.Helper()
	peer := bufio.NewReader(pipe(t, p.GetConn(name), "quick"))
	add(t, p.GetStream(name), "quick", "hello")
	start := time.Now()
	p.Start()
	equal(t, "quick", lines(t, peer, 1), []string{"hello"})
	if d := time.Since(start); d > 0 {
		t.Errorf("it came after %v", d)
	}
}

// The same holds for what goes to a cluster that is slow.
func TestStartIsNotHeldUpByASlowCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := gcpool.NewPool(gcpool.WithOutbox(100))
		p.Register(name)
		stream := p.GetStream(name)
		s := stuck{make(chan struct{})}
		p.SetCluster(s)
		for i := range 10 {
			add(t, stream, "far", fmt.Sprintf("%060d", i))
		}
		startsAtOnce(t, p)
		close(s.free)
		shutdown(p, time.Second)
	})
}

// DropOldest has nothing to drop while all that waits is being written.
func TestDropOldestWithNothingButAWriteUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tiny = 1080 // more messages than so small an outbox takes
		var r reports
		_, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1000), gcpool.WithOutbox(100),
			gcpool.WithOverflow(gcpool.DropOldest), gcpool.WithUndelivered(r.hook))
		for range tiny {
			add(t, stream, "a", "")
		}
		peer := pipe(t, conns, "a")
		time.Sleep(2 * time.Second)
		add(t, stream, "a", "new")
		synctest.Wait()
		equal(t, "gave way", r.take(t, gcpool.ErrSlow), []string{"a new"})
		equal(t, "received", lines(t, bufio.NewReader(peer), tiny), make([]string, tiny))
	})
}

// Nor has it while what is being written are too many messages by themselves.
func TestDropOldestBehindManyMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		_, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20), gcpool.WithOutbox(32<<10),
			gcpool.WithOverflow(gcpool.DropOldest), gcpool.WithUndelivered(r.hook))
		for range 25_000 { // of which a piece of 64 KiB takes more than the outbox does
			add(t, stream, "a", "")
		}
		pipe(t, conns, "a")
		time.Sleep(2 * time.Second)
		add(t, stream, "a", "new")
		synctest.Wait()
		equal(t, "gave way", r.take(t, gcpool.ErrSlow), []string{"a new"})
	})
}

// Add waits while the peer takes what the application writes. On real time, for a
// writer that waits for the frame to end holds up a simulated clock.
func TestFullOutboxWaitsForAWriteOfTheApplication(t *testing.T) {
	const pieces = 12
	_, conns, stream := started(t, gcpool.WithOutbox(100), gcpool.WithHeartbeat(0))
	large := make(chan bool)
	open := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		conns.Add("a", ws)
		defer conns.Del("a")
		<-large
		ws.Write(bytes.Repeat([]byte("x"), pieces<<16))
	}))
	raw, _ := open("")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	large <- true
	io.ReadFull(raw, make([]byte, 1<<16)) // the frame is under way
	add(t, stream, "a", strings.Repeat("1", 60))
	for range pieces - 2 {
		time.Sleep(150 * time.Millisecond)
		io.ReadFull(raw, make([]byte, 1<<16))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := stream.AddContext(ctx, "a", make([]byte, 60)); !errors.Is(err, context.DeadlineExceeded) || conns.Len() != 1 {
		t.Errorf("Add: %v, %d connected, though the peer reads", err, conns.Len())
	}
	raw.Close()
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

// What gives way may be spread over several pieces of the queue.
func TestDropOldestDropsAsMuchAsIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		_, conns, stream := started(t, gcpool.WithOutbox(300_000), gcpool.WithOverflow(gcpool.DropOldest), gcpool.WithUndelivered(r.hook))
		peer := pipe(t, conns, "a")
		add(t, stream, "a", "first")
		synctest.Wait()
		for _, c := range "123" { // each too large to share a piece
			add(t, stream, "a", strings.Repeat(string(c), 60_000))
		}
		time.Sleep(2 * time.Second)
		large := strings.Repeat("4", 200_000)
		add(t, stream, "a", large)
		synctest.Wait()
		equal(t, "gave way", r.take(t, gcpool.ErrSlow), []string{"a " + strings.Repeat("1", 100), "a " + strings.Repeat("2", 100)})
		equal(t, "received", lines(t, bufio.NewReader(peer), 3), []string{"first", strings.Repeat("3", 60_000), large})
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
