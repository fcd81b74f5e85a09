package cluster

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// pending returns a request as Forward makes it, and its outcomes.
func pending(batch ...string) (r *request, outcomes *[]error) {
	outcomes = new([]error)
	r = &request{key: alice, kind: push, done: func(errs []error) { *outcomes = errs }}
	for _, data := range batch {
		r.batch = append(r.batch, []byte(data))
	}
	return r, outcomes
}

// TestStuckNodeMakesRoom: requests without any answer must not hold
// up requests to other nodes, however many they are.
func TestStuckNodeMakesRoom(t *testing.T) {
	s := serve(t, nil)
	a := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Minute)})
	b, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	a.pool.Register("many")
	g.serves("many", "*")
	u := b.dial("alice")
	b.known("alice", a)
	for i := range maxInFlight + 100 {
		if err := a.pool.GetStream("many").Add(userID(i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-a.background("alice", "y"); err != nil || u.read() != "y" {
		t.Errorf("Deliver: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.pool.Shutdown(ctx)
	a.Leave(ctx)
	a.err = nil // for the cleanup, which checks it
}

// TestWindow: no more requests are out than the window has room for. Meanwhile no goroutine
// spins, and as soon as there is room, more requests are sent.
func TestWindow(t *testing.T) {
	s := serve(t, nil)
	n := bare("n")
	n.nc = connect(t, s.ClientURL())
	for range maxInFlight + 1 {
		r, _ := pending("x")
		n.enqueue(r)
	}
	n.take()
	for i := 0; n.round(); i++ {
		if i > maxInFlight {
			t.Fatal("round never stops")
		}
	}
	if len(n.out) != maxInFlight || n.inFlight != maxInFlight || len(n.queue) != 1 {
		t.Errorf("%d are out, %d count, %d wait", len(n.out), n.inFlight, len(n.queue))
	}
	for _, r := range n.out { // so that none is overdue, however slow the machine is
		r.heard = time.Now().Add(time.Hour)
	}
	for _, step := range []struct {
		what       string
		do         func()
		count, out int
		woken      int
	}{
		{"a request has its answer", func() { n.claim(1) }, maxInFlight - 1, maxInFlight - 1, 1},
		{"one is in progress", func() { n.answer(&decoder{left: []byte{2, inProgress, 0, 0}}, n.id) }, maxInFlight - 2, maxInFlight - 1, 1},
		{"the same is still", func() { n.answer(&decoder{left: []byte{2, inProgress, 0, 0}}, n.id) }, maxInFlight - 2, maxInFlight - 1, 0},
		{"one is stuck", func() { n.out[3].heard = n.now().Add(-3 * tick); n.sweep() }, maxInFlight - 3, maxInFlight - 1, 1},
		{"one is lost", func() { n.out[4].heard = n.now().Add(-n.timeout); n.sweep() }, maxInFlight - 4, maxInFlight - 2, 1},
	} {
		n.sending = make(chan struct{}, 1)
		if step.do(); n.inFlight != step.count || len(n.out) != step.out || len(n.sending) != step.woken {
			t.Errorf("%s: %d count, %d are out, and send was woken %d times", step.what, n.inFlight, len(n.out), len(n.sending))
		}
	}
}

// TestWakesSend: requests and answers do not wait for the next tick.
func TestWakesSend(t *testing.T) {
	for what, add := range map[string]func(n *Node){
		"a request": func(n *Node) { n.enqueue(&request{}) },
		"an answer": func(n *Node) { n.answerLocked("g", 1, outcomes, nil, "") },
		"Broadcast": func(n *Node) { remote{n}.Broadcast(name, nil) },
	} {
		n := bare("n")
		if add(n); len(n.sending) == 0 {
			t.Errorf("%s: send is not woken", what)
		}
	}
}

// TestInHand: a request is not given up as long as its node says that it is in progress.
func TestInHand(t *testing.T) {
	n := bare("n")
	r, _ := pending("x")
	r.heard = n.now().Add(-n.timeout)
	n.out[1] = r
	n.answer(&decoder{left: []byte{1, inProgress, 0, 0}}, n.id)
	if left := n.timeout - n.now().Sub(r.heard); left < n.timeout/2 {
		t.Errorf("the request is given up in %v", left)
	}
}

// TestSearchBeginsAnew: a search takes too long only if no node that
// has the id was heard from. Both an answer that the messages are in
// progress and one that some were written start the time anew.
func TestSearchBeginsAnew(t *testing.T) {
	for what, heard := range map[string]func(n *Node) []byte{
		"nothing": func(n *Node) []byte { return nil },
		"in progress": func(n *Node) []byte {
			n.answer(&decoder{left: []byte{1, inProgress, 0, 0}}, n.id)
			return nil
		},
		"one is written": func(n *Node) []byte { return []byte{0} },
	} {
		n := bare("n")
		r, errs := pending("x", "y")
		r.since, r.sent = time.Now().Add(-time.Hour), 2
		n.out[1] = r
		n.finish(r, n.settledLocked(r, heard(n), n.id, strings.Repeat("h", 22)))
		if over := what == "nothing"; over == (len(n.queue) == 1) || over != (len(*errs) == 2) {
			t.Errorf("%s: %d wait, outcomes %v", what, len(n.queue), *errs)
		}
	}
}

// TestSweep: an overdue request has the outcome that fits what is
// known about it. At the end, so do all others.
func TestSweep(t *testing.T) {
	for _, end := range []bool{false, true} {
		n := bare("n")
		heard := n.now()
		if !end {
			heard = heard.Add(-n.timeout)
		}
		lost, lostOutcome := pending("x", "y")
		unsent, unsentOutcome := pending("x")
		n.out[1], n.queue = lost, []*request{unsent}
		lost.heard, unsent.heard = heard, heard
		n.open = 2
		if !end {
			for range 2 {
				r, _ := pending("z")
				r.heard = n.now()
				n.queue = append(n.queue, r)
				n.out[uint64(len(n.queue))] = r
			}
			n.open += 4
		}
		n.ended.Store(end)
		n.sweep()
		if errs := *lostOutcome; len(errs) != 2 || errs[0] != ErrUncertain || errs[1] != ErrUncertain {
			t.Errorf("end %v: the request that was sent has the outcomes %v", end, errs)
		}
		if errs := *unsentOutcome; len(errs) != 1 || !errors.Is(errs[0], gcpool.ErrNotConnected) {
			t.Errorf("end %v: the request that was not sent has the outcomes %v", end, errs)
		}
		if left := len(n.out) + len(n.queue); n.open != left || end && left > 0 || !end && left != 4 {
			t.Errorf("end %v: %d are left, %d are open", end, left, n.open)
		}
	}
}

// TestForwardAfterLeave: a request after Leave has its outcome at once. A request that waits
// for its turn before that is given time.
func TestForwardAfterLeave(t *testing.T) {
	n := bare("n")
	r, _ := pending("x")
	n.enqueue(r)
	if n.sweep(); len(n.queue) != 1 {
		t.Error("the request was given up at once")
	}
	n.ended.Store(true)
	r, errs := pending("x")
	n.enqueue(r)
	if len(*errs) != 1 || !errors.Is((*errs)[0], gcpool.ErrNotConnected) || n.open != 1 {
		t.Errorf("the outcome is %v, and %d requests are open", *errs, n.open)
	}
}

// TestForwardIntoLeave: messages that the pool forwards while its node leaves have their outcome.
func TestForwardIntoLeave(t *testing.T) {
	s := serve(t, nil)
	a := join(t, s.ClientURL())
	if err := a.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	errs := make(chan []error, 1)
	remote{a.Node}.Forward(name, "alice", [][]byte{nil}, func(e []error) { errs <- e })
	select {
	case e := <-errs:
		if len(e) != 1 || !errors.Is(e[0], gcpool.ErrNotConnected) {
			t.Errorf("outcomes %v", e)
		}
	case <-time.After(20 * time.Second):
		t.Error("no outcome")
	}
	if err := (remote{a.Node}).Broadcast(name, nil); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Broadcast: %v", err)
	}
}

// TestTake: as many messages travel together as NATS takes, none twice, and a message that is
// too large holds up none behind it.
func TestTake(t *testing.T) {
	const limit = 200
	for size := range 2 * limit {
		n := bare("n")
		n.limit = limit
		r, _ := pending("before", strings.Repeat("x", size), "after")
		n.enqueue(r)
		got, _, _ := n.take()
		if got != r || r.sent < 1 || len(n.buf) > limit {
			t.Fatalf("size %d: %d messages in %d bytes", size, r.sent, len(n.buf))
		}
		if fits := len(n.buf) + 5 + size; r.sent == 1 && fits <= limit {
			t.Errorf("size %d: only one message in %d bytes", size, len(n.buf))
		}
		sent := r.sent
		n.claim(n.number)
		n.finish(r, n.settledLocked(r, make([]byte, sent), n.id, ""))
		if sent == 3 {
			continue
		}
		if r.node != n.id || n.open != 1 {
			t.Errorf("size %d: the rest goes to %q, %d are open", size, r.node, n.open)
		}
		if n.take(); r.sent != 3-sent && size < limit-60 || r.sent > 3-sent {
			t.Errorf("size %d: the second request has %d messages", size, r.sent)
		}
		if rest := bytes.Join(r.batch[:r.sent], []byte{5}); sent == 2 && !bytes.HasSuffix(n.buf, append([]byte{5}, rest...)) {
			t.Errorf("size %d: the second request is %q", size, n.buf)
		}
	}
}

// TestTooLargeInABatch: a message larger than NATS takes holds up none behind it.
func TestTooLargeInABatch(t *testing.T) {
	s := serve(t, func(o *server.Options) { o.MaxPayload = 10 << 10 })
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	g.serves(name, "alice")
	first := a.background("alice", "0")
	m, _ := g.asked()
	for _, data := range []string{strings.Repeat("x", 20<<10), "1"} { // these gather, and travel together
		a.stream.Add("alice", []byte(data))
	}
	g.answers(m, outcomes, []byte{0}, "")
	<-first
	m, batch := g.asked()
	if len(batch) != 1 || batch[0] != "1" {
		t.Fatalf("%d messages were sent together, want one", len(batch))
	}
	g.answers(m, outcomes, []byte{0}, "")
	eventually(t, "outcomes", func() bool { return a.stats().Waiting == 0 })
	if st := a.stats(); st.Forwarded != 2 || st.Undelivered != 1 {
		t.Errorf("%+v", st)
	}
}

// TestNothingLeft: an error of nats.go that says that nothing was sent makes the outcome certain.
func TestNothingLeft(t *testing.T) {
	s := serve(t, func(o *server.Options) { o.MaxPayload = 1 << 10 })
	p := through(t, s.Addr().String())
	closed, draining, large, away := bare("n"), bare("n"), bare("n"), bare("n")
	closed.nc, large.nc = connect(t, s.ClientURL()), connect(t, s.ClientURL())
	closed.nc.Close()
	large.buf = make([]byte, 2<<10)
	draining.nc = connect(t, p.url())
	p.hold(true)
	draining.nc.Drain()
	eventually(t, "it drains", func() bool { return draining.nc.Status() == nats.DRAINING_PUBS })
	q := through(t, s.Addr().String())
	away.nc = connect(t, q.url(), nats.ReconnectBufSize(10))
	q.cut()
	eventually(t, "no connection", func() bool { return !away.nc.IsConnected() })
	away.nc.Publish("gcpool.x", []byte("what fills the buffer"))
	for want, n := range map[error]*Node{
		nats.ErrConnectionClosed: closed, nats.ErrConnectionDraining: draining,
		nats.ErrMaxPayload: large, nats.ErrReconnectBufExceeded: away,
	} {
		if err := n.publishRequest("gcpool.x", "gcpool.y"); !errors.Is(err, gcpool.ErrNotConnected) || !errors.Is(err, want) {
			t.Errorf("%v, want ErrNotConnected for %v", err, want)
		}
	}
	p.hold(false)
}

// TestBroadcastRefuses: a Broadcast that cannot be sent is refused,
// and Broadcasts do not take unbounded memory.
func TestBroadcastRefuses(t *testing.T) {
	small, large := make([]byte, 1<<10), make([]byte, 1<<19)
	n := bare("n")
	for i := range broadcastBytes/len(large) + 1 {
		err := remote{n}.Broadcast(name, large)
		if full := (i+1)*(len(large)+100) > broadcastBytes; full != (err == errOverflow) || !full && err != nil {
			t.Fatalf("number %d of %d bytes: %v", i, len(large), err)
		}
	}
	away, ended := bare("a"), bare("e")
	away.away = true
	ended.ended.Store(true)
	for what, n := range map[string]*Node{"away": away, "ended": ended} {
		n.sending = make(chan struct{}, 1)
		if err := (remote{n}).Broadcast(name, small); !errors.Is(err, gcpool.ErrNotConnected) {
			t.Errorf("%s: %v", what, err)
		}
	}
	n = bare("n")
	n.limit = 1 << 10
	if err := (remote{n}).Broadcast(name, small); !errors.Is(err, gcpool.ErrTooLarge) {
		t.Errorf("a Broadcast larger than NATS takes: %v", err)
	}
}
