package cluster

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// TestClocksThatDiffer: the newest connection wins even if the node with an older one has a
// clock that is ahead, and each connection has its own version.
func TestClocksThatDiffer(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	a.dial("alice")
	g.version(g.all, "alice")
	last := ahead(time.Minute)
	g.takes("alice", last)
	eventually(t, "evicted", func() bool { return a.Stats().IDs == 0 && a.conns.Len() == 0 })
	for range 3 { // the last two are takeovers
		u := a.dial("alice")
		version := g.version(g.all, "alice")
		if version <= last {
			t.Errorf("version %d after %d", version, last)
		}
		last = version
		defer u.Close()
	}
	if a.conns.Len() != 1 {
		t.Error("the newest is gone")
	}
}

// TestSameVersion: if two connections have the same version, the node with the higher id keeps
// its own, and tells the other node.
func TestSameVersion(t *testing.T) {
	s := serve(t, nil)
	a := join(t, s.ClientURL())
	low, high := haunt(t, s.ClientURL(), "0", nil), haunt(t, s.ClientURL(), "z", nil)
	a.dial("alice")
	version := low.version(low.all, "alice")
	low.takes("alice", version)
	if told := low.version(low.hears, "alice"); told != version {
		t.Errorf("the lower node is told version %d, want %d", told, version)
	}
	if a.conns.Len() != 1 {
		t.Fatal("the higher node has given up the id")
	}
	high.takes("alice", version)
	eventually(t, "the lower gives it up", func() bool { return a.conns.Len() == 0 })
}

// TestOlderIsTold: a node that announces an older connection learns of the newer one, which
// stays. Only that node learns of it.
func TestOlderIsTold(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	a.dial("alice")
	version := g.version(g.all, "alice")
	g.takes("alice", version-1)
	m := g.next(g.hears)
	if told := g.announced(m)["alice"]; told != version || a.conns.Len() != 1 {
		t.Errorf("told version %d of %d, %d connections", told, version, a.conns.Len())
	}
	d := decoder{left: m.Data}
	d.string()
	d.number()
	if after, upTo := d.number(), d.number(); after != 0 || upTo != 0 {
		t.Errorf("the message claims all announcements up to %d after %d", upTo, after)
	}
}

// TestManyAtOnce: ids that connect at the same time are all announced.
func TestManyAtOnce(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	const n = 5000
	var ids []string
	for i := range n {
		ids = append(ids, userID(i)+strings.Repeat("x", 100))
	}
	a.addAtOnce(ids...)
	heard := 0
	for end := time.Now().Add(20 * time.Second); heard < n; {
		m := g.next(g.all)
		if time.Now().After(end) {
			t.Fatalf("%d of %d are announced", heard, n)
		}
		if len(m.Data) > piece+1000 {
			t.Errorf("an announcement of %d bytes", len(m.Data))
		}
		heard += len(g.announced(m))
	}
	eventually(t, "all are here", func() bool { return a.Stats().IDs == n })
}

// TestNewcomer: a node asks a node that is new to it for everything that the new node has
// announced, if there are ids here that the new node may have too.
func TestNewcomer(t *testing.T) {
	s := serve(t, nil)
	a, g, h := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil), haunt(t, s.ClientURL(), "h", nil)
	g.latest, h.latest = 3, 3
	g.beats()
	g.greeted()
	a.dial("alice")
	g.version(g.all, "alice")
	g.takes("alice", 1) // an older version
	if m := g.next(g.hears); g.announced(m)["alice"] == 0 {
		t.Errorf("told %q, though there was no id here", m.Data)
	}
	h.beats()
	h.greeted()
	want := append(append(appendString(nil, a.id), missing), 0)
	if m := h.next(h.hears); !bytes.Equal(m.Data, want) {
		t.Errorf("sent %q, want a question for all", m.Data)
	}
}

// TestNewcomerBeforeAnAnnouncement: ids that wait to be announced count too.
func TestNewcomerBeforeAnAnnouncement(t *testing.T) {
	s := serve(t, nil)
	pool := gcpool.NewPool()
	if err := errors.Join(pool.Register(name), pool.GetConn(name).Add("alice", pipe(t))); err != nil {
		t.Fatal(err)
	}
	g, h := haunt(t, s.ClientURL(), "g", pool), haunt(t, s.ClientURL(), "h", nil)
	remote{g.Node}.Changed(name, "alice")
	h.latest = 3
	h.beats()
	g.hear(g.next(g.all))
	h.greeted()
	if m := h.next(h.hears); !bytes.Equal(m.Data, append(append(appendString(nil, g.id), missing), 0)) {
		t.Errorf("sent %q, want a question for all", m.Data)
	}
}

// TestGreeting: a node that comes learns the highest version at once, because its clock may be
// behind. A node that only answers gets no greeting, or the greetings would never end.
func TestGreeting(t *testing.T) {
	s := serve(t, nil)
	a, g, h := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil), haunt(t, s.ClientURL(), "h", nil)
	a.dial("alice")
	g.version(g.all, "alice")
	far := ahead(20 * time.Second)
	g.takes("zed", far)
	g.beats()
	if version := g.greeted(); version < far {
		t.Errorf("told of version %d, want at least %d", version, far)
	}
	h.heartbeatTo(h.subject("s", a.id), alive)
	h.takes("alice", 1)
	if m := h.next(h.hears); h.announced(m)["alice"] == 0 {
		t.Errorf("told %q", m.Data)
	}
}

// TestBeat: a heartbeat says how much its node has announced to all. A node sends none once it
// has left, or while NATS is gone.
func TestBeat(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	a.dial("alice")
	g.version(g.all, "alice")
	g.takes("alice", 1)
	g.version(g.hears, "alice")
	for {
		d := decoder{left: g.next(g.all).Data}
		if node := d.string(); node != a.id || d.number() != alive {
			continue
		}
		if node := d.string(); node != a.Name() {
			t.Errorf("the heartbeat has the name %q", node)
		}
		if version, said, sent := d.number(), d.number(), d.number(); version == 0 || said != 1 || sent != 0 || d.bad || d.more() {
			t.Errorf("time %d, %d announcements, %d requests", version, said, sent)
		}
		break
	}
	h := haunt(t, s.ClientURL(), "h", nil)
	h.withdrawn.Store(true)
	h.beats()
	if d := (decoder{left: h.next(h.hears).Data}); d.string() != h.id || d.number() != alive {
		t.Error("a leaving node does not check whether NATS is there")
	}
	for g.flush(); len(g.all) > 0; {
		if d := (decoder{left: g.next(g.all).Data}); d.string() == h.id {
			t.Error("a node that has left sent a heartbeat to all")
		}
	}
	h.withdrawn.Store(false)
	h.lastHeartbeat = time.Time{}
	s.Shutdown()
	eventually(t, "NATS is gone", func() bool { return !h.nc.IsConnected() })
	if h.heartbeat(); !h.lastHeartbeat.IsZero() {
		t.Error("a heartbeat was sent without NATS")
	}
}

// TestMembersAreForgotten: a node that is silent for some time counts
// as gone, and after an hour it is forgotten.
func TestMembersAreForgotten(t *testing.T) {
	s := serve(t, nil)
	g := haunt(t, s.ClientURL(), "g", nil)
	for id, ago := range map[string]time.Duration{"here": 0, "silent": 2 * memberTimeout, "dead": 2 * time.Hour} {
		g.members[id] = &member{heard: time.Now().Add(-ago), seen: time.Now().Add(-ago)}
	}
	g.members["asks"] = &member{heard: time.Now().Add(-2 * time.Hour), seen: time.Now(), gone: true}
	g.tick()
	if n := g.Stats().Nodes; n != 1 || len(g.members) != 3 || g.members["asks"] == nil || !g.members["silent"].gone || g.members["here"].gone {
		t.Errorf("%d nodes of %v", n, g.members)
	}
	if nodes := g.others(); len(nodes) != 1 || nodes[0] != "here" {
		t.Errorf("%q would be asked", nodes)
	}
}

// TestPlacesLinger: the place of an id that has left is known for a second at least, and is
// then forgotten. Only its last place counts.
func TestPlacesLinger(t *testing.T) {
	s := serve(t, nil)
	g := haunt(t, s.ClientURL(), "g", nil)
	g.entries[alice] = &entry{key: alice, next: "somewhere"}
	g.hints[0][alice] = "before"
	g.drop(g.entries[alice])
	for _, known := range []bool{true, true, false} {
		at, ok := g.hintLocked(alice)
		if ok != known || known && at != "somewhere" {
			t.Errorf("she is at %q, known %v, want %v", at, ok, known)
		}
		g.rotated = time.Time{}
		g.sweep()
	}
}

// TestBackBeforeItLeft: an id connects here again before it was seen to leave for another node.
// When it leaves, it must not be looked for at that other node.
func TestBackBeforeItLeft(t *testing.T) {
	pool := gcpool.NewPool()
	pool.Register(name)
	g := haunt(t, serve(t, nil).ClientURL(), "g", pool)
	pool.GetConn(name).Add("alice", pipe(t))
	g.entries[alice] = &entry{key: alice, next: "elsewhere"}
	remote{g.Node}.Changed(name, "alice")
	if g.update(); g.entries[alice].next != "" {
		t.Errorf("she is at %q", g.entries[alice].next)
	}
	if err := pool.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLeaveWaitsForNATS: Leave waits until NATS knows, so that no
// message is sent to a node that has left.
func TestLeaveWaitsForNATS(t *testing.T) {
	s := serve(t, nil)
	p := through(t, s.Addr().String())
	g := haunt(t, p.url(), "g", nil)
	p.hold(true)
	start := time.Now()
	g.leave()
	if d := time.Since(start); d < time.Second || !g.withdrawn.Load() {
		t.Errorf("leave returned after %v without waiting for NATS", d)
	}
	p.hold(false)
}

// TestLookAfterTheEnd: an id that connects while its node leaves is
// not announced, and can no longer be evicted.
func TestLookAfterTheEnd(t *testing.T) {
	s := serve(t, nil)
	pool := gcpool.NewPool()
	pool.Register(name)
	conn, _ := net.Pipe()
	pool.GetConn(name).Add("alice", conn)
	g := haunt(t, s.ClientURL(), "g", pool)
	g.leave()
	remote{g.Node}.Changed(name, "alice")
	if g.update(); len(g.entries) != 0 || len(g.dirty) != 0 {
		t.Error("announced after the end")
	}
	b := append(appendString(nil, strings.Repeat("h", 22)), joined, 0, 1)
	b = append(appendString(appendString(b, name), "alice"), 1)
	g.hear(&nats.Msg{Subject: g.subject("s"), Data: b})
	if pool.GetConn(name).Len() != 1 {
		t.Error("evicted by a node that has left")
	}
	if err := pool.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
