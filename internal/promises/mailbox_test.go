package promises

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

func TestMailboxKeepsForItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 1000), gcpool.WithUndelivered(r.hook))
		add(t, stream, "a", "1")
		time.Sleep(20 * time.Second)
		add(t, stream, "a", "2")
		add(t, stream, "b", "3")
		time.Sleep(40*time.Second - 1)
		synctest.Wait()
		equal(t, "too early", r.take(t, nil), nil)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"a 1"})
		equal(t, "delivered", lines(t, bufio.NewReader(pipe(t, conns, "a")), 1), []string{"2"})
		time.Sleep(time.Minute)
		synctest.Wait()
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"b 3"})
		settled(t, p)
	})
}

func TestMailboxGivesUpTheOldestForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 30), gcpool.WithUndelivered(r.hook))
		for i := range 5 {
			add(t, stream, fmt.Sprint("id", i%2), fmt.Sprintf("message %02d", i))
		}
		synctest.Wait()
		equal(t, "gave way", r.take(t, gcpool.ErrExpired), []string{"id0 message 00", "id1 message 01"})
		add(t, stream, "id0", strings.Repeat("x", 31))
		synctest.Wait()
		equal(t, "never fits", r.take(t, gcpool.ErrNotConnected), []string{"id0 " + strings.Repeat("x", 31)})
		if s := p.Stats()[0]; s.WaitingBytes != 30 || s.Waiting != 3 || s.MailboxBytes != 30 || s.MailboxLimit != 30 {
			t.Errorf("the mailbox holds too much or too little: %+v", s)
		}
		equal(t, "delivered", lines(t, bufio.NewReader(pipe(t, conns, "id0")), 2), []string{"message 02", "message 04"})
		if s := p.Stats()[0]; s.MailboxBytes != 10 {
			t.Errorf("the mailbox holds %d bytes, want 10", s.MailboxBytes)
		}
	})
}

func TestMailboxTakesWhatALostConnectionLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		_, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 1<<20), gcpool.WithUndelivered(r.hook))
		peer := pipe(t, conns, "a")
		for i := range 10 {
			add(t, stream, "a", fmt.Sprint(i))
			synctest.Wait()
		}
		peer.Close() // nothing of "0" was written
		synctest.Wait()
		add(t, stream, "a", "10")
		got := lines(t, bufio.NewReader(pipe(t, conns, "a")), 11)
		equal(t, "the next connection", got, strings.Fields("0 1 2 3 4 5 6 7 8 9 10"))
		equal(t, "undelivered", r.take(t, nil), nil)
	})
}

// TestMailboxPassesOnWhatAWriteLeaves: a connection is removed during a write. Its message goes
// to the next connection ahead of those that wait behind it; until then it waits.
func TestMailboxPassesOnWhatAWriteLeaves(t *testing.T) {
	for _, later := range []time.Duration{5 * time.Millisecond, time.Second} { // the write is still running, or has been given up
		synctest.Test(t, func(t *testing.T) {
			var r reports
			p, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 1<<20), gcpool.WithUndelivered(r.hook))
			pipe(t, conns, "a") // its peer reads nothing
			for i := range 3 {
				add(t, stream, "a", fmt.Sprint(i))
				synctest.Wait()
			}
			conns.Del("a")
			time.Sleep(later)
			peer := bufio.NewReader(pipe(t, conns, "a"))
			equal(t, "received", lines(t, peer, 3), []string{"0", "1", "2"})
			synctest.Wait()
			equal(t, "undelivered", r.take(t, nil), nil)
			settled(t, p)
		})
	}
}

// TestManyMessagesOfOneID: when many messages of one id expire, other
// ids are not delayed, and neither is Shutdown.
func TestManyMessagesOfOneID(t *testing.T) {
	undisturbed(t, func() error { return manyMessagesOfOneID(t) })
}

func manyMessagesOfOneID(t *testing.T) error {
	const messages = 200_000
	p, conns, stream := started(t, gcpool.WithMailbox(time.Second, 16<<20), gcpool.WithOutbox(16<<20))
	pipe(t, conns, "alice")
	for range messages {
		stream.Add("alice", make([]byte, 64))
	}
	conns.Del("alice")
	worst := time.Duration(0)
	for p.Stats()[0].Expired < messages/2 {
		start := time.Now()
		stream.Add("bob", []byte("x"))
		worst = max(worst, time.Since(start))
		time.Sleep(time.Millisecond)
	}
	if worst > 2*time.Second { // normally 10 ms; 8 s if the time were quadratic
		return fmt.Errorf("an Add for another id waited for %v", worst)
	}
	for range messages {
		stream.Add("carol", make([]byte, 64))
	}
	start := time.Now()
	shutdown(p, 100*time.Millisecond)
	if d := time.Since(start); d > 2*time.Second {
		return fmt.Errorf("Shutdown with 100 ms took %v", d)
	}
	return nil
}

// TestMessageThatNoMailboxTakes: a message that is too large for the mailbox does not
// displace other messages.
func TestMessageThatNoMailboxTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1000), gcpool.WithUndelivered(r.hook))
		add(t, stream, "alice", "kept")
		pipe(t, conns, "bob")
		add(t, stream, "bob", "on its way")
		synctest.Wait()
		add(t, stream, "bob", strings.Repeat("x", 1001))
		conns.Del("bob")
		time.Sleep(time.Minute)
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"bob " + strings.Repeat("x", 100)})
		equal(t, "delivered", lines(t, bufio.NewReader(pipe(t, conns, "alice")), 1), []string{"kept"})
		shutdown(p, time.Minute)
	})
}

// TestMailLeavesTheOutboxAsItWas: once its mail has left, an outbox has as much room as before,
// in bytes and in messages.
func TestMailLeavesTheOutboxAsItWas(t *testing.T) {
	const outbox = 1000 // in bytes; its limit in messages is 1275
	for size, fits := range map[int]int{100: 10, 0: 1275} {
		synctest.Test(t, func(t *testing.T) {
			p, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 1<<20), gcpool.WithOutbox(outbox),
				gcpool.WithOverflow(gcpool.DropNewest), gcpool.WithWriteTimeout(time.Hour))
			for range 20 {
				add(t, stream, "a", strings.Repeat("x", size))
			}
			time.Sleep(time.Minute)
			synctest.Wait() // until the messages have expired
			for range 20 {
				if err := stream.Deliver(t.Context(), "a", make([]byte, size)); err != gcpool.ErrKept {
					t.Fatal(err)
				}
			}
			lines(t, bufio.NewReader(pipe(t, conns, "a")), 20)
			pipe(t, conns, "a") // its peer reads nothing
			for range fits + 1 {
				add(t, stream, "a", strings.Repeat("x", size))
			}
			if s := p.Stats()[0]; s.Waiting != fits || s.Slow != 1 {
				t.Errorf("%d messages of %d bytes wait, and %d gave way; want %d and 1", s.Waiting, size, s.Slow, fits)
			}
		})
	}
}

// TestMailboxStaysInBoundsWhenConnectionsEnd: messages that a removed connection leaves
// count toward the mailbox's limit.
func TestMailboxStaysInBoundsWhenConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, c, s := started(t, gcpool.WithMailbox(24*time.Hour, 1000), gcpool.WithUndelivered(r.hook))
		for _, id := range []string{"a", "b", "c", "d"} {
			pipe(t, c, id)
			for range 100 {
				s.Add(id, make([]byte, 100))
			}
			synctest.Wait()
			c.Del(id)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := p.Stats()[0]; st.WaitingBytes > 1000 {
			t.Errorf("a mailbox of 1000 bytes holds %d after an hour", st.WaitingBytes)
		}
	})
}

// TestShutdownOfAFullMailboxEndsWithItsContext: reporting a million messages takes longer than
// ctx lasts, so they are given up together.
func TestShutdownOfAFullMailboxEndsWithItsContext(t *testing.T) {
	const messages = 1_000_000
	p, _, stream := started(t, gcpool.WithMailbox(time.Hour, 64<<20))
	for i := range messages {
		add(t, stream, fmt.Sprint(i%1000), "12345678")
	}
	if err := shutdown(p, time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if s := p.Stats()[0]; s.Waiting != 0 || s.Closed != messages {
		t.Errorf("%d wait, %d closed", s.Waiting, s.Closed)
	}
}

// TestWhoWaitsForRoomGoesOnWhenTheIDGoes: an id disconnects while its outbox is full. A push
// that waits for room must end at once, in the mailbox or as not connected.
func TestWhoWaitsForRoomGoesOnWhenTheIDGoes(t *testing.T) {
	for name, want := range map[string]error{"mailbox": gcpool.ErrKept, "nothing": gcpool.ErrNotConnected} {
		synctest.Test(t, func(t *testing.T) {
			opts := []gcpool.Option{gcpool.WithOutbox(10), gcpool.WithWriteTimeout(time.Hour)}
			if name == "mailbox" {
				opts = append(opts, gcpool.WithMailbox(time.Hour, 1000))
			}
			p, conns, stream := started(t, opts...)
			pipe(t, conns, "a") // does not read
			add(t, stream, "a", "12345")
			add(t, stream, "a", "12345")
			outcome := make(chan error, 1)
			go func() { outcome <- stream.Deliver(t.Context(), "a", []byte("12345")) }()
			time.Sleep(100 * time.Millisecond)
			start := time.Now()
			conns.Kick("a", 1000, "")
			if err := <-outcome; !errors.Is(err, want) || time.Since(start) > 0 {
				t.Errorf("with %s: %v after %v", name, err, time.Since(start))
			}
			if err := shutdown(p, time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLargeMailMakesItsOwnRoom: the mailbox is full of small messages, and large ones arrive
// faster than small ones can give way one by one. The mailbox must stay within its bound.
func TestLargeMailMakesItsOwnRoom(t *testing.T) {
	const bound, large = 4 << 20, 256 << 10
	p, _, stream := started(t, gcpool.WithMailbox(time.Hour, bound))
	for i := range 200_000 {
		add(t, stream, fmt.Sprint(i%100), "12345678")
	}
	for range 100 {
		add(t, stream, "large", strings.Repeat("x", large))
		if n := p.Stats()[0].WaitingBytes; n > bound+2*large {
			t.Fatalf("%d KiB in a mailbox of %d", n>>10, bound>>10)
		}
	}
	shutdown(p, time.Millisecond)
}

// TestMailboxSaysWhyAMessageLeaves: a mailbox that is too small looks different from a ttl that is
// too short.
func TestMailboxSaysWhyAMessageLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var why []string
		_, _, stream := started(t, gcpool.WithMailbox(time.Minute, 10), gcpool.WithUndelivered(func(u gcpool.Undelivered) {
			mu.Lock()
			defer mu.Unlock()
			if !errors.Is(u.Err, gcpool.ErrExpired) {
				t.Error(u.Err)
			}
			why = append(why, string(u.Data)+" "+u.Err.Error())
		}))
		add(t, stream, "a", "old")
		add(t, stream, "b", "12345678")
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		equal(t, "reported", why, []string{
			"old gcpool: expired in the mailbox: it made room for newer messages",
			"12345678 gcpool: expired in the mailbox",
		})
	})
}
