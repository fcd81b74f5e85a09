package promises

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
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
		if s := p.Stats()[0]; s.WaitingBytes != 30 || s.Waiting != 3 {
			t.Errorf("the mailbox holds too much or too little: %+v", s)
		}
		equal(t, "delivered", lines(t, bufio.NewReader(pipe(t, conns, "id0")), 2), []string{"message 02", "message 04"})
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
		peer.Close() // "0" is on its way and has not been started
		synctest.Wait()
		add(t, stream, "a", "10")
		got := lines(t, bufio.NewReader(pipe(t, conns, "a")), 11)
		equal(t, "the next connection", got, strings.Fields("0 1 2 3 4 5 6 7 8 9 10"))
		equal(t, "undelivered", r.take(t, nil), nil)
	})
}

func TestHeartbeatPingsAnIdleWebSocket(t *testing.T) { both(t, testHeartbeatPingsAnIdleWebSocket) }

func testHeartbeatPingsAnIdleWebSocket(t *testing.T, wrap wrapper) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithHeartbeat(10*time.Second))
		raw, _ := serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("a", ws)
			defer conns.Del("a")
			ws.Read(make([]byte, 1))
		}))("")
		in := bufio.NewReader(raw)
		synctest.Wait()
		start := time.Now()
		var seen []string
		for range 3 {
			op, _, err := frame(in)
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, fmt.Sprintf("%x", op))
			raw.Write([]byte{0x8a, 0x80, 0, 0, 0, 0}) // a pong
			if len(seen) == 2 {
				within(t, "pinged", start, 20*time.Second, 3*time.Second)
				time.Sleep(5 * time.Second)
				add(t, stream, "a", "not idle")
				start = time.Now()
			}
		}
		equal(t, "frames", seen, []string{"89", "89", "81"})
		if op, _, _ := frame(in); op != 0x89 {
			t.Errorf("got frame %x, want a ping", op)
		}
		within(t, "pinged after a message", start, 10*time.Second, 2*time.Second)
	})
}

func TestHeartbeatFindsAStalledPeer(t *testing.T) { both(t, testHeartbeatFindsAStalledPeer) }

func testHeartbeatFindsAStalledPeer(t *testing.T, wrap wrapper) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, _ := started(t, gcpool.WithHeartbeat(10*time.Second))
		serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("a", ws)
			ws.Read(make([]byte, 1))
		}))("")
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if conns.Len() != 0 {
			t.Error("a peer that does not take a ping is still connected")
		}
	})
}

func TestNoHeartbeatWritesNothing(t *testing.T) { both(t, testNoHeartbeatWritesNothing) }

func testNoHeartbeatWritesNothing(t *testing.T, wrap wrapper) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, _ := started(t, gcpool.WithHeartbeat(0))
		raw, _ := serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("a", ws)
			ws.Read(make([]byte, 1))
		}))("")
		raw.SetReadDeadline(time.Now().Add(time.Hour))
		if n, err := raw.Read(make([]byte, 1)); n != 0 {
			t.Errorf("read %d bytes, %v", n, err)
		}
	})
}

func TestUpgradedPeerThatIsSilentForTwoHeartbeatsIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, _ := started(t, gcpool.WithHeartbeat(10*time.Second))
		raw, _ := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("a", ws)
			ws.Read(make([]byte, 1))
		}))("")
		start := time.Now()
		for buf := make([]byte, 100); ; { // takes everything, and answers nothing
			if _, err := raw.Read(buf); err != nil {
				break
			}
		}
		within(t, "closed", start, 20*time.Second, 2*time.Second)
		synctest.Wait()
		if conns.Len() != 0 {
			t.Error("a dead peer is still connected")
		}
	})
}

func TestUpgradedPeerThatOnlyReceivesIsNotTakenForDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithHeartbeat(10*time.Second))
		_, ws := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("a", ws)
			ws.Read(make([]byte, 1))
		}))("")
		go io.Copy(io.Discard, ws) // answers pings
		for range 300 {
			time.Sleep(time.Second)
			if err := stream.Deliver(t.Context(), "a", []byte("tick")); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRawConnectionIsNotPinged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t)
		peer := pipe(t, conns, "a")
		peer.SetReadDeadline(time.Now().Add(time.Hour))
		if n, _ := peer.Read(make([]byte, 1)); n != 0 {
			t.Error("something was written to an idle raw connection")
		}
		peer.SetReadDeadline(time.Time{})
		add(t, stream, "a", "still here")
		equal(t, "received", lines(t, bufio.NewReader(peer), 1), []string{"still here"})
		if ids := slices.Collect(keys(conns)); len(ids) != 1 {
			t.Errorf("connected: %q", ids)
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
