package cluster

import (
	"bytes"
	"testing"

	"github.com/nulijiabei/gcpool"
)

// TestMissed: a node that has announced more than was heard is asked to say it again,
// and one that is asked does; if nothing was lost, nobody asks.
func TestMissed(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	g.said = 1 // which was before they met
	g.beats()
	g.greeted()
	g.takes("bob", 1)
	g.beats()
	g.tell(g.subject("s", a.id), key{name, "bob"}, &entry{version: 2}) // which is not to all
	g.say(g.subject("s", a.id))
	g.beats()
	a.dial("alice")
	g.version(g.all, "alice")
	g.takes("alice", 1)
	g.beats()
	if m := g.next(g.hears); g.announced(m)["alice"] == 0 {
		t.Errorf("told %q, and nothing was lost", m.Data)
	}
	asks := func(what string) {
		t.Helper()
		want := append(append(appendString(nil, a.id), missing), 3)
		if m := g.next(g.hears); !bytes.Equal(m.Data, want) {
			t.Errorf("told %q, and %s", m.Data, what)
		}
	}
	g.said++ // one that was lost
	g.beats()
	asks("one was lost")
	g.takes("bob", 3)
	g.beats()
	asks("it has not been repeated")
	g.announcer.direct[a.id]++ // which was lost too, but not the next one
	g.tell(g.subject("s", a.id), key{name, "bob"}, &entry{version: 4})
	g.say(g.subject("s", a.id))
	g.repeat(a.id, 3)
	g.beats()
	asks("a part of it was lost")
	g.repeat(a.id, 3)
	g.beats()
	g.takes("alice", 1)
	if m := g.next(g.hears); g.announced(m)["alice"] == 0 {
		t.Errorf("told %q, and all was repeated", m.Data)
	}
}

// TestOlderThanItsAnnouncement: a connection that waits to be announced is closed when its node
// hears of a newer one, though all that the other node tells this one alone is lost.
func TestOlderThanItsAnnouncement(t *testing.T) {
	s := serve(t, nil)
	pool := gcpool.NewPool()
	pool.Register(name)
	g, h := haunt(t, s.ClientURL(), "g", pool), haunt(t, s.ClientURL(), "h", nil)
	pool.GetConn(name).Add("alice", pipe(t))
	remote{g.Node}.Changed(name, "alice")
	version := g.Node.clock.last
	h.takes("alice", version+1)
	g.hear(g.next(g.all))
	g.update()
	if n := pool.GetConn(name).Len(); n != 0 {
		t.Error("two nodes have her")
	}
	if got := h.version(h.all, "alice"); got != version {
		t.Errorf("she was announced with version %d, want %d", got, version)
	}
	if err := pool.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRepeat: a node that has missed something is told what was announced since, however
// long ago, and that it was all; nothing if that makes no sense.
func TestRepeat(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	for _, id := range []string{"alice", "bob", "carol"} {
		a.dial(id)
		g.version(g.all, id)
	}
	for whole, want := range []int{3, 2, 1, 0} {
		b := append(append(appendString(nil, g.id), missing), byte(whole))
		g.publish(g.subject("s", a.id), b[:len(b)-1])
		g.publish(g.subject("s", a.id), b)
		m := g.next(g.hears)
		if ids := g.announced(m); len(ids) != want || want > 0 && ids["carol"] == 0 {
			t.Errorf("after %d: told %v", whole, ids)
		}
		if want > 0 {
			m = g.next(g.hears)
		}
		if d := (decoder{left: m.Data}); d.string() != a.id || d.byte() != repeated {
			t.Errorf("after %d: told %q at the end", whole, m.Data)
		}
	}
	if n := a.Stats().Malformed; n != 4 {
		t.Errorf("%d malformed", n)
	}
}
