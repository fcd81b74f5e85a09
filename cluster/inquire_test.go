package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// TestLeavesWhileOnItsWay: a user leaves while a message is between two NATS servers, and the
// second server drops the message silently. The sender must soon find that out and send the
// message to wherever the user is by then. It must hold up no other message.
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
			before := a.Stats().Requests
			outcome := a.background("alice", "x")
			eventually(t, "it is out", func() bool { return a.Stats().Requests > before })
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

// TestLostWithItsNode: a push may be at a node that hangs. If its user is
// connected elsewhere, it must soon become uncertain. The pushes behind
// it must reach the user there, even though NATS knows both nodes.
func TestLostWithItsNode(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	long := []Option{WithTimeout(time.Minute)}
	a, b, c := joinAs(t, s.ClientURL(), long), joinAs(t, p.url(), long), join(t, s.ClientURL())
	b.dial("alice")
	b.known("alice", a)
	eventually(t, "members", func() bool { return a.Stats().Nodes == 2 })
	if err := a.stream.Deliver(t.Context(), "alice", []byte("first")); err != nil { // so that the next one goes straight to b
		t.Error(err)
	}
	p.hold(true)
	before := a.Stats().Requests
	outcome := a.background("alice", "lost")
	eventually(t, "it is out", func() bool { return a.Stats().Requests > before })
	u := c.dial("alice")
	start := time.Now()
	if err := <-outcome; !errors.Is(err, ErrUncertain) {
		t.Errorf("Deliver: %v, want ErrUncertain", err)
	}
	if err := a.stream.Deliver(t.Context(), "alice", []byte("next")); err != nil || u.read() != "next" {
		t.Errorf("Deliver: %v", err)
	}
	if d := time.Since(start); d > 15*time.Second {
		t.Errorf("it took %v", d)
	}
	p.hold(false)
}

// TestAnswerIsLost: a push whose answer was lost is uncertain as soon as its node says that it
// had the push. A question is simply asked again.
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

// TestAbsent: a push is sent again once no node can have it. It is uncertain if a node that
// does not answer may have it, while another node has its id.
func TestAbsent(t *testing.T) {
	n := bare("n")
	n.members["g"], n.members["h"] = &member{}, &member{gone: true}
	n.members["i"] = &member{gone: true, over: true} // has said farewell
	now := time.Now()
	for what, row := range map[string]struct {
		node   string // where the push went
		silent time.Duration
		absent []string // nodes that do not have the push; "+" marks one that has the id
		want   error
	}{
		"one of three":              {"", 0, []string{"g"}, errOpen},
		"all but one that is gone":  {"", 0, []string{"g", n.id}, errOpen},
		"all":                       {"", 0, []string{"g", n.id, "h"}, gcpool.ErrMoved},
		"its node":                  {"g", 0, []string{"g"}, gcpool.ErrMoved},
		"not its node":              {"g", time.Minute, []string{"h", n.id}, errOpen},
		"the id elsewhere":          {"g", time.Minute, []string{"h+"}, ErrUncertain},
		"the id elsewhere, so soon": {"g", 0, []string{"h+"}, errOpen},
	} {
		clear(n.hints[0])
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
}

// TestStrangerIsAskedFirst: a node takes a push only from a node that knows it. A node that
// does not, because it has just joined or has missed the heartbeats, would not ask it what
// became of the push, and would send the push a second time.
func TestStrangerIsAskedFirst(t *testing.T) {
	s := serve(t, nil)
	pool := gcpool.NewPool()
	pool.Register(name)
	pool.Start()
	pool.GetConn(name).Add("alice", pipe(t)) // alice does not read
	g := haunt(t, s.ClientURL(), "g", pool)
	if _, err := g.nc.ChanQueueSubscribe(g.subjectOf(alice), group, g.asks); err != nil {
		t.Fatal(err)
	}
	g.flush()
	a := joinAs(t, s.ClientURL(), []Option{WithTimeout(2 * time.Second)})
	outcome := a.background("alice", "x")
	taken := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.deliveries)
	}
	if g.received(g.next(g.asks)); taken() > 0 {
		t.Error("the node took a push from a node that does not know it")
	}
	g.round()
	for end := time.After(patience); end != nil; {
		select {
		case m := <-g.asks:
			g.received(m)
		case m := <-g.all:
			g.hear(m)
		case m := <-g.hears:
			g.hear(m)
		case node := <-g.strangers:
			g.heartbeatTo(g.subject("s", node), greeting)
		case err := <-outcome:
			t.Fatalf("Deliver: %v", err)
		case <-end:
			end = nil
		}
		g.round()
	}
	if n := taken(); n != 1 {
		t.Errorf("the node has taken one push %d times", n)
	}
	if n := a.Stats().Nodes; n != 1 {
		t.Errorf("%d nodes are known", n)
	}
	if err := <-outcome; !errors.Is(err, ErrUncertain) {
		t.Errorf("Deliver: %v, want ErrUncertain, because its node is silent", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pool.Shutdown(ctx)
}

// TestStrangerWhoIsHeard: a node whose heartbeats arrive here need not
// have heard this one. It is greeted again when it sends a request,
// because the first greeting or the answer may have been lost.
func TestStrangerWhoIsHeard(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	a.dial("alice")
	eventually(t, "announced", func() bool { return a.Stats().IDs == 1 })
	g.sent = 2
	for number, tells := range []func(){g.beats, func() { g.introduces(a) }} {
		tells()
		a.meets(g)
		b := encode(g.id, push, ahead(time.Minute), "alice", "x")
		if err := g.nc.PublishRequest(g.subject("d", a.id), g.subject("r", g.id, fmt.Sprint(number+1)), b); err != nil {
			t.Fatal(err)
		}
		if kind, codes, _ := g.answered(); kind != outcomes || len(codes) != number {
			t.Errorf("request %d: answer %c %v", number+1, kind, codes)
		}
		if number == 0 {
			g.greeted()
			g.greeted()
		}
	}
	if len(g.hears) > 0 {
		t.Errorf("told %q", g.next(g.hears).Data)
	}
}

// TestStrangerBeforeItsHeartbeat: right after a node has reconnected to NATS, it counts all
// others as gone. When a stranger sends it a request, it must greet the stranger without
// waiting for its next heartbeat, and remember it for another hour, as the greeting says.
func TestStrangerBeforeItsHeartbeat(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	g.sent = 1
	g.beats()
	g.greeted()
	a.mu.Lock()
	ago := a.now().Add(-time.Hour / 2)
	a.members[g.id] = &member{gone: true, heard: ago, seen: ago} // the state after lookAtNATS
	a.mu.Unlock()
	b := encode(g.id, push, ahead(time.Minute), "alice", "x")
	if err := g.nc.PublishRequest(g.subject("d", a.id), g.subject("r", g.id, "1"), b); err != nil {
		t.Fatal(err)
	}
	if kind, codes, _ := g.answered(); kind != outcomes || len(codes) > 0 {
		t.Errorf("answer %c %v", kind, codes)
	}
	g.greeted()
	a.mu.Lock()
	defer a.mu.Unlock()
	if d := a.now().Sub(a.members[g.id].seen); d > time.Hour/4 {
		t.Errorf("the node was last seen %v ago", d)
	}
}

// TestOldGreeting: nats.go keeps messages while there is no connection, so a greeting to this node
// alone may arrive long after it was sent. By then its sender may have forgotten this node.
func TestOldGreeting(t *testing.T) {
	g := haunt(t, serve(t, nil).ClientURL(), "g", gcpool.NewPool())
	h := strings.Repeat("h", 22)
	for _, row := range []struct {
		sent time.Duration
		want bool
	}{{-time.Hour, true}, {-time.Minute, false}, {-time.Hour, false}} {
		b := binary.AppendUvarint(append(appendString(nil, h), greeting, 0), ahead(row.sent))
		g.hear(&nats.Msg{Subject: g.subject("s", g.id), Data: append(b, 0, 0)})
		g.mu.Lock()
		if got := g.strangerLocked(h); got != row.want {
			t.Errorf("after a greeting sent %v ago, the node is a stranger: %v", -row.sent, got)
		}
		g.mu.Unlock()
	}
}

// TestStranger: a node takes another node to know it for half an hour
// after the other has told it so.
func TestStranger(t *testing.T) {
	n := bare("n")
	now := n.clock.at(time.Now())
	for what, row := range map[string]struct {
		node string
		m    *member
		want bool
	}{
		"nobody":                 {"g", nil, true},
		"who says it to all":     {"g", &member{heard: n.now()}, true},
		"who has told it":        {"g", &member{knows: now}, false},
		"who told it long ago":   {"g", &member{heard: n.now(), knows: now - 2*halfHour}, true},
		"the node itself":        {n.id, nil, false},
		"who is silent for long": {"g", &member{knows: now - 60e6, gone: true}, false},
	} {
		n.members = map[string]*member{row.node: row.m}
		if row.m == nil {
			delete(n.members, row.node)
		}
		if got := n.strangerLocked(row.node); got != row.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// TestAcquainted: nodes know each other as soon as they have met, and
// so does a node that comes later.
func TestAcquainted(t *testing.T) {
	s := serve(t, nil)
	sites := []*site{join(t, s.ClientURL()), join(t, s.ClientURL()), join(t, s.ClientURL())}
	for _, a := range sites {
		for _, b := range sites {
			a.knownTo(b)
		}
	}
}

// TestInquire: the pauses between questions about a request grow, and
// many requests are not asked about all at once.
func TestInquire(t *testing.T) {
	n := bare("n")
	start := time.Now()
	r := &request{key: alice, node: "g", heard: start, asked: start}
	n.out[1] = r
	var times []time.Duration
	for d := time.Duration(0); d < 3*time.Second; d += tick {
		n.inquireLocked(start.Add(d))
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
	n.inquireLocked(start)
	if len(n.pending) != 1 || len(n.pending[0].data) > piece+100 {
		t.Errorf("%d messages, the first of %d bytes", len(n.pending), len(n.pending[0].data))
	}
}

// TestLateRequestOfAStranger: requests that a node sent before it knew another node are not
// taken there, however late they arrive.
func TestLateRequestOfAStranger(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	u := a.dial("alice")
	eventually(t, "announced", func() bool { return a.Stats().IDs == 1 })
	g.Node.number, g.sent = 7, 9
	for want, number := range []uint64{7, 8} {
		g.sendsNumber(number, ahead(time.Minute), a, push, "alice", fmt.Sprint(number))
		if kind, codes, _ := g.answered(); g.number != number || kind != outcomes || len(codes) != want {
			t.Errorf("answer %c %v to request %d", kind, codes, number)
		}
	}
	if got := u.read(); got != "8" {
		t.Errorf("received %q", got)
	}
}
