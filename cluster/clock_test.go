package cluster

import (
	"bytes"
	"testing"
	"time"
)

// TestClock: the cluster's time never goes back, and is never behind a time that it has heard.
func TestClock(t *testing.T) {
	now := time.Now()
	c := clock{start: now}
	if wall := uint64(now.UnixMicro()); c.at(now) != wall || c.at(now.Add(-time.Second)) != wall-1e6 {
		t.Errorf("the clock starts at %d, the wall clock at %d", c.at(now), wall)
	}
	heard := c.at(time.Now()) + 30e6
	if !c.hear(heard, time.Now()) || c.at(time.Now()) <= heard {
		t.Error("the clock is behind a time that it has heard")
	}
	if before := c.ahead; !c.hear(heard-10e6, time.Now()) || c.ahead != before {
		t.Error("an older time moves the clock")
	}
	if before := c.ahead; c.hear(c.at(time.Now())+2*farFuture, time.Now()) || c.hear(^uint64(0), time.Now()) || c.ahead != before {
		t.Error("the clock accepts a time in the far future")
	}
	last := c.at(time.Now())
	for range 1000 {
		v := c.at(time.Now())
		if v < last {
			t.Fatalf("time %d after %d", v, last)
		}
		last = v
	}
	if (&clock{}).at(time.Unix(-1, 0)) != 0 {
		t.Error("a time before 1970 is not 0")
	}
}

// TestClockHoursAhead: a node whose clock is hours ahead works like any other: its connections
// are newer than earlier ones and older than later ones.
func TestClockHoursAhead(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	older := a.dial("alice")
	g.version(g.all, "alice")
	for range 3 {
		far := ahead(2 * time.Hour)
		g.takes("alice", far)
		older.ends()
		older = a.dial("alice")
		if version := g.version(g.all, "alice"); version <= far {
			t.Errorf("version %d after %d", version, far)
		}
	}
	if a.conns.Len() != 1 || a.Stats().Malformed > 0 {
		t.Errorf("%d connections, %d malformed", a.conns.Len(), a.Stats().Malformed)
	}
}

// TestClocksInAPartition: after a partition the newest connection wins, even though the other
// node's clock is 30 s ahead, because the nodes had met before.
func TestClocksInAPartition(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	g.clock.ahead = 30e6
	g.beats()
	g.greeted()
	older := g.clock.at(time.Now()) + 1e5 // connected there 0.1 s from now; a does not hear of it
	eventually(t, "0.1 s later", func() bool { return g.clock.at(time.Now()) > older+1e5 })
	a.dial("alice")
	g.version(g.all, "alice")
	g.takes("alice", older)
	if told := g.version(g.hears, "alice"); told <= older || a.conns.Len() != 1 {
		t.Errorf("told version %d; the older has %d; %d connections", told, older, a.conns.Len())
	}
}

// TestRefusedIsNotHeard: after a malformed announcement, a node asks for it again.
func TestRefusedIsNotHeard(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	g.beats()
	g.greeted()
	b := append(append(appendString(nil, g.id), joined), 0, 1)
	b = append(appendString(appendString(b, name), "bob"), 1)
	g.publish(g.subject("s"), append(b, 0xff))
	g.latest = 1
	g.beats()
	want := append(append(appendString(nil, a.id), missing), 0)
	if m := g.next(g.hears); !bytes.Equal(m.Data, want) {
		t.Errorf("sent %q, want a question about the refused announcement", m.Data)
	}
}
