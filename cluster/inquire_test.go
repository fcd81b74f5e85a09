package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// TestLeavesWhileOnItsWay: what is on its way between two servers of NATS while its user
// leaves is dropped there without a word. It is soon found out, sent where the user is
// by then, and keeps no other message waiting.
func TestLeavesWhileOnItsWay(t *testing.T) {
	for _, back := range []string{"nowhere", "where it was pushed", "elsewhere"} {
		t.Run(back, func(t *testing.T) {
			t.Parallel()
			var route *proxy
			servers := serveCluster(t, 2, &route)
			long := []Option{WithTimeout(time.Minute)}
			a, b := joinAs(t, servers[0].ClientURL(), long), joinAs(t, servers[1].ClientURL(), long)
			eventually(t, "members", func() bool { return a.Stats().Nodes == 1 && b.Stats().Nodes == 1 })
			b.dial("alice")
			b.known("alice", a)
			subs := servers[1].NumSubscriptions()
			route.hold(true)
			outcome := a.background("alice", "x")
			eventually(t, "it is out", func() bool { return a.Stats().Waiting == 1 })
			if err := a.nc.Flush(); err != nil {
				t.Fatal(err)
			}
			b.conns.Del("alice")
			eventually(t, "she has left", func() bool { return servers[1].NumSubscriptions() < subs })
			var u *user
			switch back {
			case "where it was pushed":
				u = a.dial("alice")
			case "elsewhere":
				u = b.dial("alice")
			}
			start := time.Now()
			route.hold(false)
			err := <-outcome
			if d := time.Since(start); d > 15*time.Second {
				t.Errorf("%v after %v", err, d)
			}
			if u == nil && !errors.Is(err, gcpool.ErrNotConnected) || u != nil && (err != nil || u.read() != "x") {
				t.Errorf("Deliver: %v", err)
			}
		})
	}
}

// TestLostWithItsNode: a push that a node which hangs may have is uncertain soon if its
// user is connected elsewhere; those behind it come there, though NATS knows of both.
func TestLostWithItsNode(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	long := []Option{WithTimeout(time.Minute)}
	a, b, c := joinAs(t, s.ClientURL(), long), joinAs(t, p.url(), long), join(t, s.ClientURL())
	b.dial("alice")
	b.known("alice", a)
	eventually(t, "members", func() bool { return a.Stats().Nodes == 2 })
	if err := a.stream.Deliver(t.Context(), "alice", []byte("first")); err != nil { // so the next goes straight to b
		t.Error(err)
	}
	p.hold(true)
	outcome := a.background("alice", "lost")
	eventually(t, "it is out", func() bool { return a.Stats().Waiting == 1 })
	u := c.dial("alice")
	start := time.Now()
	if err := <-outcome; !errors.Is(err, ErrUncertain) {
		t.Errorf("Deliver: %v, want ErrUncertain", err)
	}
	if err := a.stream.Deliver(t.Context(), "alice", []byte("next")); err != nil || u.read() != "next" {
		t.Errorf("Deliver: %v", err)
	}
	if d := time.Since(start); d > 15*time.Second {
		t.Errorf("after %v", d)
	}
	p.hold(false)
}

// TestAnswerIsLost: a push whose answer is lost is uncertain as soon as its node says that
// it had it; a question is asked again.
func TestAnswerIsLost(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	g.serves(name, "alice")
	outcome := a.background("alice", "x")
	m, _ := g.asked()
	g.answers(m, taken, nil, "")
	if err := <-outcome; !errors.Is(err, ErrUncertain) || a.Stats().Requests > 1 {
		t.Errorf("Deliver: %v, sent %d times", err, a.Stats().Requests)
	}
	where := make(chan string, 1)
	go func() {
		node, _ := a.Where(t.Context(), name, "alice")
		where <- node
	}()
	m, _ = g.asked()
	g.answers(m, taken, nil, "")
	m, _ = g.asked()
	g.answers(m, outcomes, []byte{0}, "node g")
	if got := <-where; got != "node g" {
		t.Errorf("she is at %q", got)
	}
}

// TestAbsent: a push is sent again when no node can have it, and is uncertain when one
// that does not answer may, but another has its id.
func TestAbsent(t *testing.T) {
	n := bare("n")
	n.members["g"], n.members["h"] = &member{}, &member{gone: true}
	n.members["i"] = &member{gone: true, over: true} // which has said farewell
	now := time.Now()
	for what, row := range map[string]struct {
		node    string // where it went
		silent  time.Duration
		control int      // announcements that wait
		absent  []string // who does not have it; the last has the id with a "+"
		want    error
	}{
		"one of three":               {"", 0, 0, []string{"g"}, nil},
		"all but one that is gone":   {"", 0, 0, []string{"g", n.id}, nil},
		"all":                        {"", 0, 0, []string{"g", n.id, "h"}, gcpool.ErrMoved},
		"all, and one may have come": {"", 0, 1, []string{"g", n.id, "h"}, nil},
		"its node":                   {"g", 0, 0, []string{"g"}, gcpool.ErrMoved},
		"not its node":               {"g", time.Minute, 0, []string{"h", n.id}, nil},
		"the id elsewhere":           {"g", time.Minute, 0, []string{"h+"}, ErrUncertain},
		"the id elsewhere, so soon":  {"g", 0, 0, []string{"h+"}, nil},
	} {
		clear(n.hints[0])
		n.control = make(chan *nats.Msg, 1)
		for range row.control {
			n.control <- nil
		}
		r := &request{key: alice, kind: push, node: row.node, heard: now.Add(-row.silent)}
		var got error
		for _, node := range row.absent {
			node, here := strings.CutSuffix(node, "+")
			got = n.absentLocked(r, node, here)
		}
		if got != row.want {
			t.Errorf("%s: %v", what, got)
		}
		if hint := n.hints[0][alice]; (hint == "h") != (row.want == ErrUncertain) {
			t.Errorf("%s: the next goes to %q", what, hint)
		}
	}
	if err := n.absentLocked(&request{key: alice, kind: where, node: "g"}, "h", true); err != gcpool.ErrMoved {
		t.Errorf("a question: %v", err)
	}
	n.hears = n.now()
	for kind, want := range map[byte]error{push: nil, where: gcpool.ErrMoved} {
		r := &request{key: alice, kind: kind, heard: n.now(), absent: []string{"g", "h"}}
		if err := n.absentLocked(r, n.id, false); err != want {
			t.Errorf("%c, all, but it has just joined: %v, want %v", kind, err, want)
		}
	}
}

// TestNewcomerDoesNotSendTwice: a node that has just joined does not know yet who may have a
// push. As long as a node that it has not heard of has the push, it is not sent again.
func TestNewcomerDoesNotSendTwice(t *testing.T) {
	s := serve(t, nil)
	g := haunt(t, s.ClientURL(), "g", nil)
	g.serves(name, "alice") // its heartbeat goes before a is there, and it is slow to greet
	a := join(t, s.ClientURL())
	a.sendsOnce(t, g)
}

// sendsOnce has n push to alice, who is at g with a slow peer.
func (n *site) sendsOnce(t *testing.T, g *ghost) {
	t.Helper()
	outcome := n.background("alice", "x")
	m, _ := g.asked()
	time.Sleep(700 * time.Millisecond)
	g.answers(m, outcomes, []byte{0}, "")
	if err := <-outcome; err != nil {
		t.Error(err)
	}
	if len(g.asks) > 0 {
		t.Errorf("it was sent %d times more", len(g.asks))
	}
}

// TestWhoIsThereAgainDoesNotSendTwice: the same goes for a node that has lost NATS for a while. It did
// not hear who has joined meanwhile.
func TestWhoIsThereAgainDoesNotSendTwice(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	a := join(t, p.url())
	a.mu.Lock()
	a.hears = a.hears.Add(-memberTimeout)
	a.mu.Unlock()
	p.cut()
	eventually(t, "it is away", func() bool { return !a.nc.IsConnected() })
	g := haunt(t, s.ClientURL(), "g", nil)
	g.serves(name, "alice")
	p.mend()
	eventually(t, "it is there again", a.nc.IsConnected)
	eventually(t, "it knows", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return !a.away
	})
	a.sendsOnce(t, g)
}

// TestInquire: a request is asked about with growing pauses, and many not all at once.
func TestInquire(t *testing.T) {
	n := bare("n")
	start := time.Now()
	r := &request{key: alice, node: "g", heard: start, asked: start}
	n.out[1] = r
	var times []time.Duration
	for d := time.Duration(0); d < 3*time.Second; d += tick {
		n.inquire(map[uint64]*request{1: r}, start.Add(d))
		if len(n.pending) > 0 {
			if to := n.pending[0].subject; !strings.HasPrefix(to, n.subject("d", "")) {
				t.Errorf("asked at %q", to)
			}
			times = append(times, d)
			n.pending = nil
		}
	}
	if want := []time.Duration{3 * tick, 9 * tick, 19 * tick, 29 * tick}; !slices.Equal(times, want) {
		t.Errorf("asked after %v, want %v", times, want)
	}
	for number := range uint64(10_000) {
		n.out[number] = &request{key: alice, node: "g"}
	}
	n.inquire(n.out, start)
	if len(n.pending) != 1 || len(n.pending[0].data) > piece+100 {
		t.Errorf("%d messages, the first of %d bytes", len(n.pending), len(n.pending[0].data))
	}
}
