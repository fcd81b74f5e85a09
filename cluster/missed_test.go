package cluster

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// TestMissed: if a node has announced more ids than were heard, it is asked for the rest until
// they arrive. If nothing was lost, it is not asked.
func TestMissed(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	to := g.subject("s", a.id)
	one := func(id string, number uint64) []*entry {
		return []*entry{{key: key{name, id}, version: 1, number: number}}
	}
	g.latest = 1 // announced before they met
	g.beats()
	g.greeted()
	g.takes("bob", 1)
	g.beats()
	g.say(to, 0, 0, one("bob", 2)) // to one node, not to all
	g.say(to, 1, 2, one("bob", 2)) // already heard
	g.beats()
	a.dial("alice")
	g.version(g.all, "alice")
	g.takes("alice", 1)
	g.beats()
	if m := g.next(g.hears); g.announced(m)["alice"] == 0 {
		t.Errorf("told %q, though nothing was lost", m.Data)
	}
	asks := func(after byte, what string) {
		t.Helper()
		g.beats()
		want := append(append(appendString(nil, a.id), missing), after)
		if m := g.next(g.hears); !bytes.Equal(m.Data, want) {
			t.Errorf("told %q, though %s", m.Data, what)
		}
	}
	g.latest++ // a lost announcement
	asks(3, "one was lost")
	g.takes("bob", 3)
	asks(3, "it has not been repeated")
	g.say(to, 4, 5, one("bob", 5))
	asks(3, "the first part of it was lost")
	g.say(to, 3, 4, nil)
	asks(4, "the second part of it was lost")
	g.say(to, 2, 5, one("bob", 5)) // more than was asked for
	g.beats()
	g.takes("alice", 1)
	if m := g.next(g.hears); g.announced(m)["alice"] == 0 {
		t.Errorf("told %q, though everything was repeated", m.Data)
	}
}

// unannounced returns two ghosts. The first has a connection of alice that waits to be announced.
func unannounced(t *testing.T) (g, h *ghost) {
	s := serve(t, nil)
	pool := gcpool.NewPool()
	pool.Register(name)
	g, h = haunt(t, s.ClientURL(), "g", pool), haunt(t, s.ClientURL(), "h", nil)
	pool.GetConn(name).Add("alice", pipe(t))
	remote{g.Node}.Changed(name, "alice")
	return g, h
}

// TestOlderThanItsAnnouncement: a connection that waits to be announced is closed when its node
// hears of a newer one, even if every message that the other node sends to this node alone is lost.
func TestOlderThanItsAnnouncement(t *testing.T) {
	g, h := unannounced(t)
	version := g.clock.at(g.Node.local.Since(name, "alice"))
	h.takes("alice", version+1)
	g.hear(g.next(g.all))
	g.update()
	if n := g.pool.GetConn(name).Len(); n != 0 {
		t.Error("two nodes have alice")
	}
	if got := h.version(h.all, "alice"); got != version {
		t.Errorf("alice was announced with version %d, want %d", got, version)
	}
	if err := g.pool.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRepeat: a node that has missed announcements learns what was announced since, in order,
// however long ago, and up to which number. A malformed question gets no answer.
func TestRepeat(t *testing.T) {
	s := serve(t, func(o *server.Options) { o.MaxPayload = 1024 })
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	const ids = 20
	long := func(i int) string { return userID(i) + strings.Repeat("x", 700) } // fills a message of its own
	for i := range ids {
		newPipe(t, a, long(i))
		g.version(g.all, long(i))
	}
	for _, after := range []uint64{0, 1, ids - 1, ids} {
		b := binary.AppendUvarint(append(appendString(nil, g.id), missing), after)
		g.publish(g.subject("s", a.id), b[:len(b)-1])
		g.publish(g.subject("s", a.id), b)
		for whole, last := after, false; !last; {
			m := g.next(g.hears)
			d := decoder{left: m.Data}
			node, kind, from, upTo := d.string(), d.number(), d.number(), d.number()
			if last = whole == ids; last {
				if node != a.id || kind != joined || from != ids || upTo != ids || d.more() {
					t.Errorf("after %d: told %q at the end", after, m.Data)
				}
			} else if node != a.id || kind != joined || from != whole || upTo != whole+1 || g.announced(m)[long(int(whole))] == 0 {
				t.Fatalf("after %d: told %q", whole, m.Data)
			}
			whole = upTo
		}
		if after == ids { // and once more, that this was the last
			g.next(g.hears)
		}
	}
	if n := a.Stats().Malformed; n != 4 {
		t.Errorf("%d malformed", n)
	}
}

// TestRepeatsWhatHasJustCome: a node that asks for another node's ids also learns the ids that
// wait to be announced, because their Add may have returned.
func TestRepeatsWhatHasJustCome(t *testing.T) {
	g, h := unannounced(t)
	g.hear(&nats.Msg{Data: append(append(appendString(nil, h.id), missing), 0)})
	if m := h.next(h.hears); h.announced(m)["alice"] == 0 {
		t.Errorf("told %q", m.Data)
	}
	if err := g.pool.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
