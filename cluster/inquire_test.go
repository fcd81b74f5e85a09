package cluster

import (
	"errors"
	"testing"
	"time"

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
