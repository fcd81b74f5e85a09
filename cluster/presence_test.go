package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestWhere: every node can find the node that has an id.
func TestWhere(t *testing.T) {
	s := serve(t, nil)
	a := joinAs(t, s.ClientURL(), []Option{WithName("node a")})
	b := joinAs(t, s.ClientURL(), []Option{WithName("node b")})
	u := a.dial("alice")
	for _, from := range []*site{a, b} {
		eventually(t, "alice at a", func() bool {
			where, err := from.Where(t.Context(), name, "alice")
			return err == nil && where == "node a"
		})
		for _, pool := range []string{name, "other"} {
			if where, err := from.Where(t.Context(), pool, "nobody"); !errors.Is(err, gcpool.ErrNotConnected) {
				t.Errorf("an id that is away is at %q, %v", where, err)
			}
		}
	}
	u.Close()
	eventually(t, "alice nowhere", func() bool {
		_, err := b.Where(t.Context(), name, "alice")
		return errors.Is(err, gcpool.ErrNotConnected)
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Where(ctx, name, "alice"); !errors.Is(err, context.Canceled) && !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Where with a canceled context: %v", err)
	}
	if _, err := b.Where(t.Context(), name, ""); !errors.Is(err, gcpool.ErrInvalid) {
		t.Errorf("Where of an empty id: %v", err)
	}
}

// TestWhereOfOneName: two nodes with the same name are distinguished.
func TestWhereOfOneName(t *testing.T) {
	s := serve(t, nil)
	same := []Option{WithName("web")}
	a, b, c := joinAs(t, s.ClientURL(), same), joinAs(t, s.ClientURL(), same), join(t, s.ClientURL())
	b.dial("bob")
	c.dial("carol")
	for _, from := range []*site{a, b, c} {
		eventually(t, "nodes know each other", func() bool { return from.Stats().Nodes == 2 })
		for id, want := range map[string]string{"bob": "web/" + b.id, "carol": c.Name()} {
			eventually(t, "where "+id+" is", func() bool {
				where, err := from.Where(t.Context(), name, id)
				return err == nil && where == want
			})
		}
	}
}

// TestOnline: Online iterates over the ids of all nodes, in pages.
func TestOnline(t *testing.T) {
	s := serve(t, nil)
	sites := []*site{join(t, s.ClientURL()), join(t, s.ClientURL()), join(t, s.ClientURL())}
	var want []string
	for i := range 30 {
		id := fmt.Sprintf("user %02d %5000d", i, 0)
		want = append(want, id)
		sites[i%2].dial(id)
	}
	for _, from := range sites {
		eventually(t, "nodes know each other", func() bool { return from.Stats().Nodes == 2 })
		var got []string
		for id, err := range from.Online(t.Context(), name) {
			if err != nil {
				t.Error(err)
			}
			got = append(got, id)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%d ids are online, want %d", len(got), len(want))
		}
		for range from.Online(t.Context(), name) {
			break
		}
		for id := range from.Online(t.Context(), "other") {
			t.Errorf("%q in a pool that does not exist", id)
		}
	}
}

// TestPresenceHooks: each node reports its own ids.
func TestPresenceHooks(t *testing.T) {
	s := serve(t, nil)
	var mu sync.Mutex
	var events []string
	hook := func(node string) gcpool.Option {
		return gcpool.WithPresence(func(_, id string, connected bool) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, fmt.Sprintf("%s %s %v", node, id, connected))
		})
	}
	a, b := join(t, s.ClientURL(), hook("a")), join(t, s.ClientURL(), hook("b"))
	first := a.dial("alice")
	a.known("alice", b)
	b.dial("alice")
	first.ends()
	eventually(t, "three events", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(events) == 3
	})
	slices.Sort(events)
	if want := []string{"a alice false", "a alice true", "b alice true"}; !slices.Equal(events, want) {
		t.Errorf("events %q, want %q", events, want)
	}
}

// TestBroadcast: a Broadcast reaches every connection of every node once.
func TestBroadcast(t *testing.T) {
	s := serve(t, nil)
	var users []*user
	var sites []*site
	for i := range 3 {
		at := join(t, s.ClientURL())
		sites = append(sites, at)
		for j := range 5 {
			users = append(users, at.dial(fmt.Sprint(i, j)))
		}
	}
	for i, from := range sites {
		if err := from.stream.Broadcast(fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		for _, u := range users {
			if got := u.read(); got != fmt.Sprint(i) {
				t.Errorf("received %q, want %d", got, i)
			}
		}
	}
	if err := sites[0].stream.Broadcast(make([]byte, 1<<20)); !errors.Is(err, gcpool.ErrTooLarge) {
		t.Errorf("a Broadcast larger than NATS takes: %v", err)
	}
}

// TestMailbox: a message for an id that is away waits on the node where it was pushed, and goes
// to the node where the id appears.
func TestMailbox(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL(), gcpool.WithMailbox(time.Minute, 1<<20)), join(t, s.ClientURL())
	for i := range 10 {
		if err := a.stream.Add("alice", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nobody has it", func() bool { return a.Stats().Waiting == 0 && a.stats().Waiting == 10 })
	u := b.dial("alice")
	for i := range 10 {
		if got := u.read(); got != fmt.Sprint(i) {
			t.Errorf("received %q, want %d", got, i)
		}
	}
	eventually(t, "all have outcomes", func() bool { return a.stats().Forwarded == 10 })
}

// TestMailboxAfterARouteIsDown: messages are pushed while the route between two servers is
// down, and no other pushes follow. When the route is up again, the messages must reach the
// user on the other side, though the user was connected there all the time.
func TestMailboxAfterARouteIsDown(t *testing.T) {
	var route *proxy
	servers := serveCluster(t, 2, &route)
	a, b := join(t, servers[0].ClientURL(), gcpool.WithMailbox(time.Minute, 1<<20)), join(t, servers[1].ClientURL())
	u := b.dial("alice")
	b.known("alice", a)
	route.cut()
	eventually(t, "cut", func() bool { return servers[0].NumRoutes() == 0 && servers[1].NumRoutes() == 0 })
	for i := range 10 {
		if err := a.stream.Add("alice", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "in the mailbox", func() bool { return a.conns.Info("alice").Mailbox == 10 })
	route.mend()
	for i := range 10 {
		if got := u.read(); got != fmt.Sprint(i) {
			t.Errorf("received %q, want %d", got, i)
		}
	}
	eventually(t, "nobody looks for her any more", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.retries) == 0
	})
}

// TestMailboxOfANodeThatComesLater: messages that waited on a node before it joined go to an id
// that is connected elsewhere.
func TestMailboxOfANodeThatComesLater(t *testing.T) {
	s := serve(t, nil)
	b := join(t, s.ClientURL())
	u := b.dial("alice")
	pool := gcpool.NewPool(gcpool.WithMailbox(time.Minute, 1<<20))
	pool.Register(name)
	pool.Start()
	pool.GetStream(name).Add("alice", []byte("x"))
	n, err := Join(pool, connect(t, s.ClientURL()))
	if err != nil {
		t.Fatal(err)
	}
	if got := u.read(); got != "x" {
		t.Errorf("received %q", got)
	}
	pool.Shutdown(t.Context())
	if err := n.Leave(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestNoNode: the methods of a Node that does not come from Join must not panic.
func TestNoNode(t *testing.T) {
	for what, n := range map[string]*Node{"nil": nil, "zero": new(Node)} {
		_, where := n.Where(t.Context(), name, "alice")
		var online error
		for _, err := range n.Online(t.Context(), name) {
			online = err
		}
		for call, err := range map[string]error{"Where": where, "Online": online, "Leave": n.Leave(t.Context()), "Err": n.Err()} {
			if !errors.Is(err, gcpool.ErrInvalid) {
				t.Errorf("%s of a %s Node: %v", call, what, err)
			}
		}
		if n.Name() != "" || n.Stats() != (Stats{}) {
			t.Errorf("a %s Node is %q, %+v", what, n.Name(), n.Stats())
		}
	}
}
