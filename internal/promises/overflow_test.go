package promises

import (
	"bufio"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

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

// TestDropOldestStaysWithinTheOutbox: an outbox of 1,000 bytes takes about that much
// memory, even while the oldest messages are dropped.
func TestDropOldestStaysWithinTheOutbox(t *testing.T) {
	const ids, outbox = 500, 1000
	p, conns, stream := started(t, gcpool.WithOutbox(outbox), gcpool.WithOverflow(gcpool.DropOldest), gcpool.WithWriteTimeout(time.Minute))
	for i := range ids {
		pipe(t, conns, fmt.Sprint(i))
	}
	data := make([]byte, 100)
	for i := range ids {
		add(t, stream, fmt.Sprint(i), string(data))
	}
	eventually(t, "stalled", func() bool { return p.Stats()[0].Stalled == ids })
	for i := range ids {
		for range 9 {
			add(t, stream, fmt.Sprint(i), string(data))
		}
	}
	time.Sleep(1100 * time.Millisecond)
	before := heapNow()
	for i := range ids {
		for range 600 {
			stream.Add(fmt.Sprint(i), data)
		}
	}
	after := heapNow()
	s := p.Stats()[0]
	t.Logf("%+v used %d", s, after-before)
	if used := after - before; used > 5*ids*outbox {
		t.Errorf("%d bytes wait in outboxes of %d in all, and take %d more than before", s.WaitingBytes, ids*outbox, used)
	}
	runtime.KeepAlive(conns)
	shutdown(p, 10*time.Millisecond)
}

// TestDropOldestDropsNothingForNothing: messages are dropped only if that makes enough room.
func TestDropOldestDropsNothingForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithOutbox(1000), gcpool.WithOverflow(gcpool.DropOldest), gcpool.WithUndelivered(r.hook))
		peer := pipe(t, conns, "a")
		add(t, stream, "a", strings.Repeat("1", 900))
		synctest.Wait()
		add(t, stream, "a", "old")
		time.Sleep(2 * time.Second)
		add(t, stream, "a", strings.Repeat("2", 500)) // no room beside the 900 bytes being written
		synctest.Wait()
		got := r.take(t, gcpool.ErrSlow)
		if len(got) != 1 {
			t.Errorf("%d messages were dropped for one that still found no room: %.20q", len(got), got)
		}
		_ = peer
		shutdown(p, time.Millisecond)
	})
}

// TestDropOldestDropsAsMuchAsIsNeeded: enough messages are dropped to make room.
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

// TestDropOldestWithNothingButAWriteUnderWay: DropOldest has nothing to drop while
// every waiting message is being written.
func TestDropOldestWithNothingButAWriteUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tiny = 1080 // more messages than this small outbox takes
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

// TestDropOldestBehindManyMessages: the messages to drop may be
// spread over several pieces of the queue.
func TestDropOldestBehindManyMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		_, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20), gcpool.WithOutbox(32<<10),
			gcpool.WithOverflow(gcpool.DropOldest), gcpool.WithUndelivered(r.hook))
		for range 25_000 { // one piece of 64 KiB holds more of them than the outbox does
			add(t, stream, "a", "")
		}
		pipe(t, conns, "a")
		time.Sleep(2 * time.Second)
		add(t, stream, "a", "new")
		synctest.Wait()
		equal(t, "gave way", r.take(t, gcpool.ErrSlow), []string{"a new"})
	})
}
