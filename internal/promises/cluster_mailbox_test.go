package promises

import (
	"bufio"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestMailboxFollows: a message for an id that is away waits in the process where it
// was pushed. When the id appears in another process, the message goes there.
func TestMailboxFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bus)
		near, far := b.join(t, gcpool.WithMailbox(time.Minute, 1000)), b.join(t)
		for i := range 3 {
			add(t, near.stream, "a", fmt.Sprint(i))
			synctest.Wait()
		}
		peer := bufio.NewReader(pipe(t, far.conns, "a"))
		equal(t, "received", lines(t, peer, 3), []string{"0", "1", "2"})
		add(t, near.stream, "b", "here")
		equal(t, "received", lines(t, bufio.NewReader(pipe(t, near.conns, "b")), 1), []string{"here"})
		synctest.Wait()
		settled(t, near.pool)
	})
}

// TestOneRefusalMutesNobody: the answer that no process has the id can be wrong for a moment,
// for instance while a route is down. No event tells the pool when that has changed, so the
// next push asks again, and the waiting messages follow it.
func TestOneRefusalMutesNobody(t *testing.T) {
	for _, waiting := range []int{1, 5, 200} {
		synctest.Test(t, func(t *testing.T) {
			b, r := &bus{delay: time.Millisecond}, new(reports)
			near, far := b.join(t, gcpool.WithMailbox(time.Minute, 1<<20), gcpool.WithUndelivered(r.hook)), b.join(t)
			peer := bufio.NewReader(pipe(t, far.conns, "a"))
			b.refuse = gcpool.ErrNotConnected
			var want []string
			for i := range waiting {
				want = append(want, fmt.Sprint(i))
				add(t, near.stream, "a", want[i])
				time.Sleep(10 * time.Millisecond)
			}
			synctest.Wait()
			b.refuse = nil
			want = append(want, "the next", "and more")
			add(t, near.stream, "a", "the next")
			add(t, near.stream, "a", "and more")
			equal(t, "received", lines(t, peer, len(want)), want)
			time.Sleep(time.Second)
			equal(t, "undelivered", r.take(t, nil), nil)
			if s := settled(t, near.pool); s.Forwarded != uint64(len(want)) {
				t.Errorf("forwarded %d, want %d", s.Forwarded, len(want))
			}
		})
	}
}

// TestAskingKeepsTheTime: asking the cluster again must not extend a message's time in the
// mailbox, even if that time ends while the message is being forwarded.
func TestAskingKeepsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := &bus{delay: time.Second}, new(reports)
		near := b.join(t, gcpool.WithMailbox(time.Minute, 1000), gcpool.WithUndelivered(r.hook))
		add(t, near.stream, "a", "first")
		time.Sleep(20 * time.Second)
		add(t, near.stream, "a", "second")
		time.Sleep(41 * time.Second) // the first has been kept since the answer, at 2 s
		add(t, near.stream, "a", "third")
		time.Sleep(1900 * time.Millisecond)
		equal(t, "too early", r.take(t, nil), nil)
		time.Sleep(200 * time.Millisecond)
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"a first"})
		time.Sleep(19 * time.Second) // 82.1 s
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"a second"})
		time.Sleep(time.Minute)
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"a third"})
		settled(t, near.pool)
	})
}

// An errand is a node that counts the batches and messages that it forwards.
type errand struct {
	*node
	batches, messages int
}

func (e *errand) Forward(pool, id string, batch [][]byte, done func([]error)) {
	e.mu.Lock()
	e.batches, e.messages = e.batches+1, e.messages+len(batch)
	e.mu.Unlock()
	e.node.Forward(pool, id, batch, done)
}

// TestAReceiptInTheMailboxTakesNoRoomFromTheOutbox: with a cluster, an id's messages in the
// mailbox must not make AddFunc wait the way a full outbox does.
func TestAReceiptInTheMailboxTakesNoRoomFromTheOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bus)
		near := b.join(t, gcpool.WithMailbox(time.Hour, 1<<20), gcpool.WithOutbox(4096))
		told := 0
		const pushes = 200
		for range pushes {
			start := time.Now()
			if err := near.stream.AddFunc("a", []byte("x"), func(error) { told++ }); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d > 0 {
				t.Fatalf("an AddFunc waited for %v", d)
			}
			synctest.Wait()
		}
		lines(t, bufio.NewReader(pipe(t, near.conns, "a")), pushes)
		synctest.Wait()
		if told != pushes {
			t.Errorf("%d of %d outcomes were reported", told, pushes)
		}
	})
}

// TestPushToAUserWhoIsAway: each push to an id that is away forwards one message,
// however much mail the id has, and Add does not wait.
func TestPushToAUserWhoIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bus)
		p, _, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20), gcpool.WithOutbox(1000))
		e := &errand{node: &node{bus: b, pool: p}}
		if err := p.SetCluster(e); err != nil {
			t.Fatal(err)
		}
		const pushes = 100
		for range pushes {
			start := time.Now()
			add(t, stream, "a", string(make([]byte, 100)))
			if d := time.Since(start); d > 0 {
				t.Fatalf("an Add waited for %v", d)
			}
			synctest.Wait()
		}
		if e.batches > pushes+1 || e.messages > pushes+1 {
			t.Errorf("%d pushes asked %d times, with %d messages", pushes, e.batches, e.messages)
		}
		if s := p.Stats()[0]; s.Waiting != pushes {
			t.Errorf("%d wait, want %d", s.Waiting, pushes)
		}
	})
}

// TestRefusedAtShutdown: Shutdown reports the message that waits for the cluster's
// answer, and the mail behind it.
func TestRefusedAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := new(bus), new(reports)
		near := b.join(t, gcpool.WithMailbox(time.Hour, 1000), gcpool.WithUndelivered(r.hook))
		add(t, near.stream, "a", "1")
		synctest.Wait()
		add(t, near.stream, "a", "2")
		synctest.Wait()
		b.silent.Store(true)
		add(t, near.stream, "a", "3")
		shutdown(near.pool, time.Second)
		time.Sleep(time.Second)
		equal(t, "reported", r.take(t, gcpool.ErrClosed), []string{"a 1", "a 2", "a 3"})
		settled(t, near.pool)
	})
}

// TestExpiredOnItsWayIsReportedFirst: two messages expire while the first is being
// forwarded. The second is reported after the first, so the order is kept.
func TestExpiredOnItsWayIsReportedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := &bus{delay: time.Minute}, new(reports)
		near := b.join(t, gcpool.WithMailbox(time.Minute, 1000), gcpool.WithUndelivered(r.hook))
		add(t, near.stream, "a", "1")
		synctest.Wait()
		add(t, near.stream, "a", "2")
		time.Sleep(3*time.Minute + time.Second) // the first was kept at 2 min, and is being forwarded again by now
		equal(t, "too early", r.take(t, nil), nil)
		time.Sleep(time.Minute)
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"a 1", "a 2"})
		settled(t, near.pool)
	})
}

// TestMailFollowsTheFirstAtOnce: as soon as the cluster has taken one message, the rest
// of the mail follows in one batch.
func TestMailFollowsTheFirstAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		answer, asked := gcpool.ErrNotConnected, 0
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			asked++
			done(all(len(batch), answer))
		}})
		for range 50 {
			add(t, stream, "a", "x")
			synctest.Wait()
		}
		answer, asked = nil, 0
		add(t, stream, "a", "x")
		synctest.Wait()
		if asked != 2 {
			t.Errorf("51 messages went in %d batches, want 2", asked)
		}
		settled(t, p)
	})
}

// TestRemovedIDIsNotAskedFor: a push asked the cluster about an id, which then connected here
// and was removed. The earlier push is no reason to ask again.
func TestRemovedIDIsNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		asked := 0
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			asked++
			time.AfterFunc(time.Second, func() { done(all(len(batch), gcpool.ErrNotConnected)) })
		}})
		add(t, stream, "a", "1")
		synctest.Wait()
		add(t, stream, "a", "2")
		pipe(t, conns, "a") // its peer reads nothing
		time.Sleep(time.Minute)
		conns.Del("a")
		time.Sleep(time.Minute)
		if asked != 1 {
			t.Errorf("asked %d times, want once", asked)
		}
	})
}

// TestRefusedInPartIsNotAskedForAgain: if the cluster refuses a part of a batch, that
// part waits for the next push.
func TestRefusedInPartIsNotAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		asked := 0
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			asked++
			errs := all(len(batch), nil)
			if asked > 1 {
				errs[len(errs)-1] = gcpool.ErrNotConnected // the user has left
			}
			time.AfterFunc(time.Second, func() { done(errs) })
		}})
		for _, data := range []string{"1", "2", "3"} {
			add(t, stream, "a", data)
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		if s := p.Stats()[0]; asked != 2 || s.Forwarded != 2 || s.Waiting != 1 {
			t.Errorf("asked %d times, want twice; %+v", asked, s)
		}
	})
}

// TestPushInAnOutage: if the cluster fails, only the new message is reported. The mail
// stays.
func TestPushInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reports)
		p, _, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20), gcpool.WithUndelivered(r.hook))
		answer := gcpool.ErrNotConnected
		outage := errors.New("node or NATS lost, may have been delivered")
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) { done(all(len(batch), answer)) }})
		for i := range 50 {
			add(t, stream, "a", fmt.Sprint(i))
			synctest.Wait()
		}
		answer = outage
		add(t, stream, "a", "new")
		synctest.Wait()
		r.mu.Lock()
		n := len(r.all)
		r.mu.Unlock()
		if s := p.Stats()[0]; n > 1 {
			t.Errorf("one push while the cluster failed had %d messages reported; %d of 51 still wait", n, s.Waiting)
		}
	})
}

// TestPushBehindAnAskAsks: a push that arrives while the cluster is being asked must lead to
// another question, because the answer may be older than the push.
func TestPushBehindAnAskAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		var mu sync.Mutex
		var seen []string
		here := false
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			mu.Lock()
			defer mu.Unlock()
			for _, b := range batch {
				seen = append(seen, string(b))
			}
			err := gcpool.ErrNotConnected // the answer as of now
			if here {
				err = nil
			}
			go func() { time.Sleep(time.Second); done(all(len(batch), err)) }()
		}})
		add(t, stream, "a", "1")
		time.Sleep(500 * time.Millisecond)
		mu.Lock()
		here = true // the route is up again
		mu.Unlock()
		add(t, stream, "a", "2")
		time.Sleep(10 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if s := p.Stats()[0]; s.Waiting > 0 {
			t.Errorf("the cluster was not asked again for the second push: asked %q, %d wait", seen, s.Waiting)
		}
	})
}
