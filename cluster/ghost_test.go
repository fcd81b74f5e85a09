package cluster

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// A ghost is a node that a test plays by hand: it says and answers what the test makes it, and
// does nothing more on its own.
type ghost struct {
	*announcer
	t     testing.TB
	asks  chan *nats.Msg // requests for its ids, and for the ghost itself
	hears chan *nats.Msg // what others announce to it
	all   chan *nats.Msg // what others announce to all nodes
	got   chan *nats.Msg // answers
	rest  decoder        // the rest of the last answer's message
	sent  uint64         // number of requests sent

	number uint64 // the request of the last answer
}

// haunt starts a ghost whose id is called, repeated. A ghost that looks at a pool needs pool.
func haunt(t testing.TB, url string, called string, pool *gcpool.Pool) *ghost {
	t.Helper()
	n := bare(called)
	n.nc, n.pool, n.local = connect(t, url), pool, gcpool.NewLocal(pool)
	g := &ghost{
		announcer: &announcer{Node: n, entries: map[key]*entry{}, held: map[*entry]time.Time{}}, t: t,
		asks: make(chan *nats.Msg, inbox), hears: make(chan *nats.Msg, inbox),
		all: make(chan *nats.Msg, inbox), got: make(chan *nats.Msg, inbox),
	}
	for subject, c := range map[string]chan *nats.Msg{
		n.subject("s", n.id): g.hears, n.subject("s"): g.all, n.subject("r", n.id, "*"): g.got,
	} {
		if _, err := n.nc.ChanSubscribe(subject, c); err != nil {
			t.Fatal(err)
		}
	}
	_, err := n.nc.Subscribe(n.subject("d", n.id), func(m *nats.Msg) {
		if d := (decoder{left: m.Data}); d.string() == "" || d.number() != probe { // probes arrive if a test is slow
			g.asks <- m
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	g.flush()
	return g
}

// bare returns a node without goroutines. A test calls, step by step, what they would call.
func bare(called string) *Node {
	n := newNode()
	n.id, n.timeout = strings.Repeat(called, 22), time.Second
	return n
}

// serves subscribes the ghost to requests for an id, as a node that
// has the id; "*" stands for all ids of the pool.
func (g *ghost) serves(pool, id string) *nats.Subscription {
	g.t.Helper()
	subject := g.subject("m", token(pool), "*")
	if id != "*" {
		subject = g.subjectOf(key{pool, id})
	}
	sub, err := g.nc.ChanQueueSubscribe(subject, group, g.asks)
	if err != nil {
		g.t.Fatal(err)
	}
	g.beats() // or no node knows that the ghost may have a request
	return sub
}

// takes announces to all nodes that id is connected at the ghost.
func (g *ghost) takes(id string, version uint64) {
	g.latest++
	g.fresh = []*entry{{key: key{name, id}, version: version, number: g.latest}}
	g.sayFresh()
	g.flush()
}

// flush returns once NATS has everything that the ghost has sent.
func (g *ghost) flush() {
	g.t.Helper()
	if err := g.nc.Flush(); err != nil {
		g.t.Fatal(err)
	}
}

// next returns the next message on c.
func (g *ghost) next(c chan *nats.Msg) *nats.Msg {
	g.t.Helper()
	select {
	case m := <-c:
		return m
	case <-time.After(20 * time.Second):
		g.t.Fatal("no message came")
		return nil
	}
}

// asked returns the next request, and the messages in it.
func (g *ghost) asked() (m *nats.Msg, batch []string) {
	g.t.Helper()
	m = g.next(g.asks)
	d := decoder{left: m.Data}
	d.string()
	d.number()
	d.number()
	d.string()
	d.string()
	for d.more() {
		batch = append(batch, d.string())
	}
	return m, batch
}

// answers makes the ghost answer a request.
func (g *ghost) answers(m *nats.Msg, kind byte, codes []byte, name string) {
	g.t.Helper()
	from := (&decoder{left: m.Data}).string()
	number, ok := g.numbered(m.Reply, from)
	if !ok {
		g.t.Fatalf("a request from %q wants its answer at %q", from, m.Reply)
	}
	g.answerLocked(from, number, kind, codes, name)
	for _, p := range g.pending {
		g.publish(p.subject, p.data)
	}
	g.pending = nil
	clear(g.slots)
	g.flush()
}

// sends makes the ghost send a request to a node.
func (g *ghost) sends(to *site, kind byte, id string, batch ...string) {
	g.t.Helper()
	g.sent++
	g.sendsNumber(g.sent, ahead(time.Minute), to, kind, id, batch...)
}

// introduces makes the ghost tell a node that it knows the node.
func (g *ghost) introduces(to *site) {
	g.t.Helper()
	known := func() bool {
		to.mu.Lock()
		defer to.mu.Unlock()
		return !to.strangerLocked(g.id)
	}
	if !known() {
		g.heartbeatTo(g.subject("s", to.id), alive)
		g.flush()
		eventually(g.t, "they know each other", known)
	}
}

// sendsNumber is sends with a given number and expiry time.
func (g *ghost) sendsNumber(number, expires uint64, to *site, kind byte, id string, batch ...string) {
	g.t.Helper()
	g.introduces(to)
	b := encode(g.id, kind, expires, id, batch...)
	if err := g.nc.PublishRequest(g.subject("d", to.id), g.subject("r", g.id, fmt.Sprint(number)), b); err != nil {
		g.t.Fatal(err)
	}
}

// encode returns an encoded request.
func encode(node string, kind byte, expires uint64, id string, batch ...string) []byte {
	b := binary.AppendUvarint(append(appendString(nil, node), kind), expires)
	b = appendString(appendString(b, name), id)
	for _, data := range batch {
		b = appendString(b, data)
	}
	return b
}

// answered returns the next answer. One message may contain several.
func (g *ghost) answered() (kind byte, codes []byte, name string) {
	g.t.Helper()
	if !g.rest.more() {
		g.rest = decoder{left: g.next(g.got).Data}
		g.rest.string()
	}
	if g.number = g.rest.number(); g.number == 0 || g.number > g.sent {
		g.t.Errorf("an answer to request %d", g.number)
	}
	kind, codes, name = byte(g.rest.number()), g.rest.bytes(), g.rest.string()
	if g.rest.bad {
		g.t.Error("a malformed answer")
	}
	return kind, codes, name
}

// announced returns the versions of the ids that a message announces,
// or nil if it is no such announcement.
func (g *ghost) announced(m *nats.Msg) map[string]uint64 {
	d := decoder{left: m.Data}
	if d.string(); d.number() != joined {
		return nil
	}
	d.number()
	d.number()
	ids := map[string]uint64{}
	for d.more() {
		d.string()
		id := d.string()
		ids[id] = d.number()
	}
	return ids
}

// version returns the next version of id that another node announces on c.
func (g *ghost) version(c chan *nats.Msg, id string) uint64 {
	g.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; {
		m := g.next(c)
		if time.Now().After(end) {
			g.t.Fatalf("%q is not announced", id)
		}
		if (&decoder{left: m.Data}).string() == g.id {
			continue
		}
		if version, ok := g.announced(m)[id]; ok {
			return version
		}
	}
}

// beats makes the ghost send a heartbeat.
func (g *ghost) beats() {
	g.heartbeat()
	g.flush()
}

// greeted takes the greeting that the ghost gets when it is first
// heard, and returns the version in it.
func (g *ghost) greeted() uint64 {
	g.t.Helper()
	m := g.next(g.hears)
	d := decoder{left: m.Data}
	if d.string(); d.number() != greeting {
		g.t.Errorf("told %q at first", m.Data)
	}
	d.string()
	return d.number()
}

// ahead returns the version of a clock that is ahead by d.
func ahead(d time.Duration) uint64 { return uint64(time.Now().Add(d).UnixMicro()) }

// meets waits until the node has heard the ghost. After that, the node does not forget it.
func (s *site) meets(g *ghost) {
	s.t.Helper()
	eventually(s.t, "it is heard", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		m := s.members[g.id]
		if m == nil || m.gone {
			return false
		}
		m.heard = time.Now().Add(time.Minute)
		return true
	})
}

// sent returns how many requests s has sent. A request is counted only after it has left, so
// its outcome may be known a moment before.
func (s *site) sent() (n uint64) {
	for n = s.Stats().Requests; ; n = s.Stats().Requests {
		if time.Sleep(20 * time.Millisecond); s.Stats().Requests == n {
			return n
		}
	}
}

// background delivers to id, and returns a channel for the outcome.
func (s *site) background(id, data string) <-chan error {
	outcome := make(chan error, 1)
	go func() { outcome <- s.stream.Deliver(s.t.Context(), id, []byte(data)) }()
	return outcome
}
