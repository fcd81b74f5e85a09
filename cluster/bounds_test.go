package cluster

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// TestRequestsThatMakeNoSense: each malformed request is counted, and
// none is answered or delivered.
func TestRequestsThatMakeNoSense(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	u := a.dial("alice")
	eventually(t, "announced", func() bool { return a.Stats().IDs == 1 })
	encode := func(node string, kind byte, id string, batch ...string) []byte {
		return encode(node, kind, ahead(time.Minute), id, batch...)
	}
	star := strings.Repeat("*", 22)
	good := g.subject("r", g.id, "7")
	rows := map[string]struct {
		reply string
		data  []byte
	}{
		"no number":              {g.subject("r", g.id, "x"), encode(g.id, push, "alice", "bad")},
		"another's reply":        {g.subject("r", a.id, "7"), encode(g.id, push, "alice", "bad")},
		"any reply":              {"secret", encode(g.id, push, "alice", "bad")},
		"no id":                  {good, encode(g.id, push, "", "bad")},
		"no messages":            {good, encode(g.id, push, "alice")},
		"no message, a question": {good, encode(g.id, where, "alice")},
		"a kind that is none":    {good, encode(g.id, '?', "alice", "bad")},
		"a node with wildcards":  {g.subject("r", star, "7"), encode(star, push, "alice", "bad")},
		"a node that is short":   {g.subject("r", "g", "7"), encode("g", push, "alice", "bad")},
		"cut":                    {good, append(encode(g.id, push, "alice", "bad"), 9)},
	}
	for _, row := range rows {
		g.nc.PublishRequest(g.subject("d", a.id), row.reply, row.data)
	}
	g.sends(a, push, "alice", "good")
	if got := u.read(); got != "good" {
		t.Errorf("received %q, want good", got)
	}
	if _, codes, _ := g.answered(); len(codes) != 1 || codes[0] != 0 {
		t.Errorf("outcomes %v", codes)
	}
	if n := int(a.Stats().Malformed); n != len(rows) || len(g.got) > 0 {
		t.Errorf("%d of %d are malformed, %d were answered", n, len(rows), len(g.got))
	}
}

// TestManyMembers: invented nodes must not take unbounded memory.
func TestManyMembers(t *testing.T) {
	s := serve(t, nil)
	g := haunt(t, s.ClientURL(), "g", gcpool.NewPool())
	heartbeat := func(i int, name string) {
		b := appendString(append(appendString(nil, nodeID(i)), alive), name)
		g.hear(&nats.Msg{Subject: g.subject("s"), Data: append(b, 0, 0, 0)})
	}
	for i := range maxNodes {
		heartbeat(i, "")
	}
	if n := g.malformed.Load(); n > 0 {
		t.Errorf("%d are malformed", n)
	}
	heartbeat(maxNodes, "")
	if n := g.Stats(); n.Nodes != maxNodes || n.Malformed != 1 {
		t.Errorf("%d nodes, %d malformed", n.Nodes, n.Malformed)
	}
	heartbeat(1, strings.Repeat("n", maxName))
	if heartbeat(1, strings.Repeat("n", maxName+1)); g.malformed.Load() != 2 {
		t.Error("another node's name may be longer than the limit for our own")
	}
}

// nodeID returns an id like those that nuid makes.
func nodeID(i int) string {
	id := []byte(strings.Repeat("0", 22))
	for at := 21; i > 0; i /= 10 {
		id[at] = byte('0' + i%10)
		at--
	}
	return string(id)
}

// counter counts log records.
type counter struct {
	slog.Handler
	n *atomic.Int64
}

func (c counter) Handle(context.Context, slog.Record) error {
	c.n.Add(1)
	return nil
}

// TestTroubleIsLoggedOnceASecond: errors are logged once a second,
// however many there are. Err returns the last one.
func TestTroubleIsLoggedOnceASecond(t *testing.T) {
	n, logged := bare("n"), new(atomic.Int64)
	n.logs = slog.New(counter{slog.Default().Handler(), logged})
	last := errors.New("last")
	for range 2 {
		for range 100 {
			n.note(errors.New("trouble"))
		}
		n.note(last)
		n.faulted.Add(-int64(time.Second)) // as if a second had passed
	}
	eventually(t, "logged", func() bool { return logged.Load() >= 2 })
	if logged.Load() != 2 || n.Err() != last {
		t.Errorf("%d are logged, Err is %v", logged.Load(), n.Err())
	}
}

// TestLeaveIsAnnounced: when a node leaves, other nodes know at once.
func TestLeaveIsAnnounced(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	eventually(t, "they have met", func() bool { return a.Stats().Nodes == 1 && b.Stats().Nodes == 1 })
	if err := a.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has said farewell", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.members[a.id].over
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.members[a.id].gone || b.malformed.Load() > 0 {
		t.Error("the node that has left still counts")
	}
}

// TestOnItsWayToAnIDThatLeaves: a request on its way to an id that
// leaves is still received, so that it can be sent on.
func TestOnItsWayToAnIDThatLeaves(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	g, h := haunt(t, p.url(), "g", nil), haunt(t, s.ClientURL(), "h", nil)
	sub, err := g.nc.ChanQueueSubscribe(g.subjectOf(alice), group, g.in)
	if err != nil {
		t.Fatal(err)
	}
	g.flush()
	p.hold(true)
	h.publish(h.subjectOf(alice), []byte("x"))
	h.flush()
	g.drop(&entry{key: alice, sub: sub})
	p.hold(false)
	eventually(t, "it comes", func() bool { return len(g.in) == 1 })
	eventually(t, "no more comes", func() bool { return !sub.IsValid() })
}

// TestJoinAgain: a pool whose node has left works as before Join, and may have another node.
func TestJoinAgain(t *testing.T) {
	s := serve(t, nil)
	a := join(t, s.ClientURL())
	u := a.dial("alice")
	if err := a.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.stream.Broadcast([]byte("x")); err != nil || u.read() != "x" {
		t.Errorf("Broadcast: %v", err)
	}
	n, err := Join(a.pool, connect(t, s.ClientURL()))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Leave(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestReconnected: after a reconnect, other nodes repeat what may
// have been lost, and so does this one.
func TestReconnected(t *testing.T) {
	s := serve(t, nil)
	g, h := haunt(t, s.ClientURL(), "g", nil), haunt(t, s.ClientURL(), "h", nil)
	g.beats()
	h.next(h.all)
	g.members[h.id] = &member{heard: time.Now(), seen: time.Now()}
	if err := g.nc.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "reconnected", func() bool { return g.nc.Stats().Reconnects == 1 && g.nc.IsConnected() })
	g.tick()
	d := decoder{left: h.next(h.all).Data}
	if d.string() != g.id || d.number() != alive || !g.members[h.id].gone {
		t.Errorf("the other node is %+v", g.members[h.id])
	}
}

// TestAnnouncementsFit: ids that do not fit into one NATS message go into two.
func TestAnnouncementsFit(t *testing.T) {
	s := serve(t, func(o *server.Options) { o.MaxPayload = 64 << 10 })
	g := haunt(t, s.ClientURL(), "g", nil)
	for _, id := range []string{strings.Repeat("x", 30<<10), strings.Repeat("y", 40<<10)} {
		g.latest++
		g.fresh = append(g.fresh, &entry{key: key{name, id}, version: 1, number: g.latest})
	}
	g.sayFresh()
	for number := range uint64(2) {
		m := g.next(g.all)
		if ids := g.announced(m); len(ids) != 1 {
			t.Errorf("%d ids in one message", len(ids))
		}
		d := decoder{left: m.Data}
		d.string()
		d.number()
		if after, upTo := d.number(), d.number(); after != number || upTo != number+1 {
			t.Errorf("message %d has the announcements after %d, up to %d", number, after, upTo)
		}
	}
}

// TestAnswersFit: answers, and questions about silent requests, fit
// into max_payload, however many there are.
func TestAnswersFit(t *testing.T) {
	s := serve(t, func(o *server.Options) { o.MaxPayload = 2048 })
	g := haunt(t, s.ClientURL(), "g", nil)
	n := bare("n")
	n.nc, n.limit = g.nc, int(g.nc.MaxPayload())
	probes := make(chan *nats.Msg, inbox)
	if _, err := g.nc.ChanSubscribe(g.subject("d", n.id), probes); err != nil {
		t.Fatal(err)
	}
	const requests = 300
	n.mu.Lock()
	for number := range uint64(requests) {
		n.answerLocked(g.id, number+1, outcomes, []byte{0}, n.id)
		n.out[number+1] = &request{key: alice, kind: push}
	}
	n.mu.Unlock()
	n.round()
	asked := map[uint64]bool{}
	for now := n.now(); len(asked) < requests; now = now.Add(tick) { // some must wait for the next round
		n.inquireLocked(now)
		n.round()
		g.flush()
		if len(probes) == 0 {
			t.Fatalf("%d of %d are asked about: %v", len(asked), requests, n.Err())
		}
		for len(probes) > 0 {
			d := decoder{left: (<-probes).Data}
			d.string()
			for d.number(); d.more(); d.string() {
				asked[d.number()] = true
				d.string()
			}
		}
	}
	answers := 0
	for len(g.got) > 0 {
		d := decoder{left: (<-g.got).Data}
		for d.string(); d.more(); answers++ {
			d.number()
			d.number()
			d.bytes()
			d.string()
		}
	}
	if answers != requests || n.Err() != nil {
		t.Errorf("%d of %d answers came: %v", answers, requests, n.Err())
	}
}

// TestManyRefusals: a push with as many messages as fit, all of which the pool refuses, needs
// no more stack than a single message.
func TestManyRefusals(t *testing.T) {
	n := bare("n")
	n.pool = gcpool.NewPool() // has no pools
	n.local = gcpool.NewLocal(n.pool)
	node := strings.Repeat("g", 22)
	var m, before runtime.MemStats
	runtime.ReadMemStats(&before)
	n.received(&nats.Msg{
		Reply: n.subject("r", node, "1"),
		Data:  encode(node, push, ahead(time.Minute), "alice", make([]string, 1<<18)...),
	})
	runtime.ReadMemStats(&m)
	if m.StackInuse > before.StackInuse+1<<20 {
		t.Errorf("%d bytes of stack, %d before the push", m.StackInuse, before.StackInuse)
	}
	if len(n.pending) != 1 || len(n.deliveries) > 0 {
		t.Errorf("%d answers, %d deliveries", len(n.pending), len(n.deliveries))
	}
}

// TestTooLateForAnAnswer: requests that were not taken before Leave ended get no answer.
func TestTooLateForAnAnswer(t *testing.T) {
	n := bare("n")
	if n.proceed(&delivery{batch: [][]byte{nil}}, nil); len(n.pending) != 1 {
		t.Error("no answer before Leave ended")
	}
	n.pending, n.slots = nil, map[string]int{}
	n.ended.Store(true)
	if n.proceed(&delivery{batch: [][]byte{nil}}, nil); len(n.pending) != 0 {
		t.Error("an answer after Leave ended")
	}
}

// TestJoinWithoutAnAnswer: Join returns once NATS knows the node, or else with an error.
func TestJoinWithoutAnAnswer(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	nc, pool := connect(t, p.url()), gcpool.NewPool()
	p.hold(true)
	if _, err := Join(pool, nc, WithTimeout(time.Second)); !errors.Is(err, nats.ErrTimeout) {
		t.Errorf("Join: %v", err)
	}
	p.hold(false)
	n, err := Join(pool, nc, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := nc.ErrorHandler()
	if err := n.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if before(nc, nil, errors.New("trouble")); n.Err() != nil {
		t.Errorf("a node that has left recorded %v", n.Err())
	}
	for what, opt := range map[string]Option{
		"a long name":   WithName(strings.Repeat("n", maxName+1)),
		"a long prefix": WithPrefix(strings.Repeat("p", maxName+1)),
		"a space":       WithPrefix("a b"),
		"a line":        WithPrefix("a\r\nPUB b 0"),
	} {
		if _, err := Join(pool, nc, opt); !errors.Is(err, gcpool.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", what, err)
		}
	}
	natsTimeout := connect(t, s.ClientURL(), nats.NoEcho())
	if _, err := Join(pool, natsTimeout); !errors.Is(err, gcpool.ErrInvalid) {
		t.Errorf("NoEcho: %v, want ErrInvalid", err)
	}
	old := serve(t, func(o *server.Options) { o.NoHeaderSupport = true })
	if _, err := Join(pool, connect(t, old.ClientURL())); !errors.Is(err, nats.ErrHeadersNotSupported) {
		t.Errorf("Join to a server that is too old: %v", err)
	}
}
