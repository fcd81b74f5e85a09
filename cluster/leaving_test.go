package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// leaving makes a node leave while it is still writing a message of the ghost; the write ends
// when peer is read. leaving returns when the node has given up its ids.
func leaving(t *testing.T, a *site, g *ghost) (peer net.Conn, left chan error) {
	t.Helper()
	conn, peer := net.Pipe()
	t.Cleanup(func() { peer.Close() })
	if err := a.conns.Add("alice", conn); err != nil {
		t.Fatal(err)
	}
	g.version(g.all, "alice")
	g.sends(a, push, "alice", "x")
	eventually(t, "in progress", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.deliveries) == 1
	})
	left = make(chan error, 1)
	go func() { left <- a.Leave(t.Context()) }()
	eventually(t, "given up", a.withdrawn.Load)
	return peer, left
}

// TestRefusesWhileItLeaves: a node that is only finishing its work takes no new requests, and
// says so, so that they can be sent elsewhere. Otherwise Leave would never end.
func TestRefusesWhileItLeaves(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	peer, left := leaving(t, a, g)
	g.sends(a, push, "alice", "y")
	kind, codes, _ := g.answered()
	for kind == inProgress {
		kind, codes, _ = g.answered()
	}
	if g.number != 2 || kind != outcomes || len(codes) > 0 {
		t.Errorf("answer %c %v to request %d, which came too late", kind, codes, g.number)
	}
	a.receiveBroadcast(&nats.Msg{Data: append(appendString(appendString(nil, g.id), name), 'z')})
	b := make([]byte, 10)
	if n, err := peer.Read(b); string(b[:n]) != "x\n" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
	for kind = inProgress; kind != outcomes; {
		kind, _, _ = g.answered()
	}
	peer.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := peer.Read(b); err == nil {
		t.Errorf("read %q, which came too late", b[:n])
	}
}

// TestWhereWhileItLeaves: a node that leaves does not answer the greeting of a node that joins,
// so the new node takes none of its questions. Where must ask for no longer than WithTimeout.
func TestWhereWhileItLeaves(t *testing.T) {
	s := serve(t, nil)
	a := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Second)}, gcpool.WithWriteTimeout(time.Minute))
	g := haunt(t, s.ClientURL(), "g", nil)
	peer, left := leaving(t, a, g)
	b := join(t, s.ClientURL())
	b.dial("bob")
	eventually(t, "announced", func() bool { return b.Stats().IDs == 1 })
	found := make(chan error, 1)
	go func() {
		_, err := a.Where(t.Context(), name, "bob")
		found <- err
	}()
	select {
	case err := <-found:
		if !errors.Is(err, gcpool.ErrNotConnected) {
			t.Errorf("Where: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Where has not returned")
	}
	peer.Close()
	if err := <-left; err != nil {
		t.Error(err)
	}
}

// parts makes the ghost say farewell to a node, claiming the given number of answers.
func (g *ghost) parts(from *site, answers uint64) {
	g.answerLocked(from.id, answers, farewell, nil, "")
	for _, p := range g.pending {
		g.publish(p.subject, p.data)
	}
	g.pending = nil
	clear(g.slots)
	g.flush()
}

// TestFarewell: when a node has left and all its answers have arrived, requests on their way to
// it are sent again at once. If an answer is missing, they are uncertain.
func TestFarewell(t *testing.T) {
	for lost := range uint64(2) {
		s := serve(t, nil)
		a, g := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Minute)}), haunt(t, s.ClientURL(), "g", nil)
		a.remembers()
		g.serves(name, "alice")
		outcome := a.background("alice", "x")
		m, _ := g.asked()
		g.answers(m, outcomes, []byte{0}, "")
		if err := <-outcome; err != nil {
			t.Fatal(err)
		}
		outcome = a.background("alice", "y")
		if m, _ := g.asked(); m.Subject != g.subject("d", g.id) {
			t.Fatalf("sent to %q", m.Subject)
		}
		g.parts(a, 1+lost)
		if lost == 0 {
			m, batch := g.asked()
			if m.Subject != g.subjectOf(alice) || len(batch) != 1 || batch[0] != "y" {
				t.Errorf("%q came on %q", batch, m.Subject)
			}
			g.answers(m, outcomes, []byte{0}, "")
		}
		select {
		case err := <-outcome:
			if lost == 0 && err != nil || lost == 1 && !errors.Is(err, ErrUncertain) {
				t.Errorf("%d lost: %v", lost, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%d lost: no outcome", lost)
		}
		g.beats() // a late heartbeat
		g.flush()
		if n := a.Stats().Nodes; lost == 0 && n != 0 {
			t.Errorf("%d nodes are left", n)
		}
	}
}

// TestSaysFarewell: after its last answer, a node that leaves says how many answers it has
// sent. Until then it says what became of requests.
func TestSaysFarewell(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	peer, left := leaving(t, a, g)
	g.sent = 1000 // the ghost may have used these numbers
	b := binary.AppendUvarint(append(appendString(nil, g.id), probe), 9)
	g.publish(g.subject("d", a.id), appendString(appendString(b, name), "alice"))
	answers := uint64(0)
	next := func() byte {
		kind, _, _ := g.answered()
		answers++
		return kind
	}
	for next() != absent {
	}
	if _, err := peer.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
	for next() != farewell {
	}
	if g.number != answers-1 {
		t.Errorf("%d answers, but the farewell says %d", answers-1, g.number)
	}
}

// TestLeaveWaitsForItsAnswers: when Leave returns nil, NATS has the node's answers.
func TestLeaveWaitsForItsAnswers(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	a, g := join(t, p.url()), haunt(t, s.ClientURL(), "g", nil)
	peer, left := leaving(t, a, g)
	p.hold(true)
	if _, err := peer.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	<-a.stop
	select {
	case err := <-left:
		t.Fatalf("Leave: %v, while NATS took nothing", err)
	case <-time.After(100 * time.Millisecond):
	}
	p.hold(false)
	for kind := byte(inProgress); kind != outcomes; {
		kind, _, _ = g.answered()
	}
	if err := <-left; err != nil {
		t.Error(err)
	}
}

// TestSettle: settle waits for everything that is in progress, until its context ends.
func TestSettle(t *testing.T) {
	for what, begin := range map[string]func(n *Node){
		"nothing":     func(n *Node) {},
		"a request":   func(n *Node) { n.open++ },
		"a delivery":  func(n *Node) { n.deliveries[origin{}] = &delivery{} },
		"an answer":   func(n *Node) { n.answerLocked("g", 1, outcomes, nil, "") },
		"a Broadcast": func(n *Node) { n.broadcasts[name] = &broadcast{} },
		"a message":   func(n *Node) { n.in <- &nats.Msg{} },
		"the ids":     func(n *Node) { n.withdrawn.Store(false) },
	} {
		n := bare("n")
		n.withdrawn.Store(true)
		begin(n)
		ctx, cancel := context.WithCancel(t.Context())
		if what != "nothing" {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		if err := n.settle(ctx); (err == nil) != (what == "nothing") {
			t.Errorf("%s: %v", what, err)
		}
		cancel()
	}
}

// TestSettleWaitsForWhatWasTaken: settle waits for a request that receive has taken but not yet
// given to the pool. Once the ids are withdrawn, receive takes no more.
func TestSettleWaitsForWhatWasTaken(t *testing.T) {
	n := bare("n")
	n.members["g"] = &member{knows: n.clock.at(time.Now())}
	r, late := &delivery{origin: origin{"g", 1}}, &delivery{origin: origin{"g", 2}}
	if !n.accept(r, ahead(time.Minute)) {
		t.Fatal("the request was not taken")
	}
	n.withdrawn.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 10*retryDelay)
	defer cancel()
	if err := n.settle(ctx); err == nil {
		t.Error("settled, though the request has no answer")
	}
	n.end(r, "")
	if n.accept(late, ahead(time.Minute)) || len(n.pending) != 1 {
		t.Errorf("the next request was taken, or has no answer: %d messages", len(n.pending))
	}
	n.pending = nil
	if err := n.settle(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLeaveDoesNotWaitForNoNATS: even with many ids, a node must not wait for NATS while there
// is no connection, and must wait only once if NATS does not answer.
func TestLeaveDoesNotWaitForNoNATS(t *testing.T) {
	for what, lose := range map[string]func(g *ghost, p *proxy){
		"gone": func(g *ghost, p *proxy) {
			p.cut()
			eventually(t, "NATS is gone", func() bool { return !g.nc.IsConnected() })
		},
		"silent": func(_ *ghost, p *proxy) { p.hold(true) },
	} {
		s := serve(t, nil)
		p := through(t, s.Addr().String())
		g := haunt(t, p.url(), "g", nil)
		const often = 20 // takes a second each, if the node waits each time
		for i := range often*512 + 1 {
			sub, err := g.nc.ChanQueueSubscribe(g.subjectOf(alice), group, g.in)
			if err != nil {
				t.Fatal(err)
			}
			g.held[&entry{key: key{name, userID(i)}, sub: sub}] = time.Time{}
		}
		g.flush()
		lose(g, p)
		start := time.Now()
		g.leave()
		if what == "gone" {
			g.Node.flush(t.Context())
		}
		if d := time.Since(start); d > often*time.Second/2 {
			t.Errorf("%s: it took %v", what, d)
		}
		p.hold(false)
	}
}

// TestDrainedBeforeAReconnect: a subscription that had already ended when nc reconnected must
// not be taken for one that the reconnect brought back, or each reconnect would cause another.
func TestDrainedBeforeAReconnect(t *testing.T) {
	g := haunt(t, serve(t, nil).ClientURL(), "g", nil)
	sub, err := g.nc.ChanQueueSubscribe(g.subjectOf(alice), group, g.in)
	if err != nil {
		t.Fatal(err)
	}
	g.unsubscribe(sub)
	eventually(t, "drained", func() bool { return !sub.IsValid() })
	if err := g.nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "reconnected", func() bool { return g.nc.Stats().Reconnects == 1 && g.nc.IsConnected() })
	time.Sleep(2 * tick) // long enough for every check that comes late
	if g.stale.Load() {
		t.Error("the node would reconnect once more")
	}
}
