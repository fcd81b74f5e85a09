package model

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"pgregory.net/rapid"
)

var (
	names = []string{"p", "q", "r"}
	ids   = []string{"a", "b", "c"}
)

// A machine does the same things to the library and to the model.
type machine struct {
	world   *world
	pools   map[string]*pool
	started bool
	closed  bool
	outcome error // of Shutdown
	count   int   // messages made so far
}

// often lists the actions that are drawn more often than others, and
// how much more often. rapid fails if it has drawn 100 impossible
// actions in a row; Register, Start and Sleep are always possible.
var often = map[string]int{"Connect": 3, "Push": 6, "Deliver": 2, "Choke": 4, "Resume": 2, "Register": 2, "Sleep": 4}

func TestModel(t *testing.T) {
	setting(t, "rapid.checks", "2000")
	setting(t, "rapid.steps", "60")
	rapid.Check(t, func(rt *rapid.T) {
		bubble(t, func() {
			m := &machine{world: newWorld(), pools: make(map[string]*pool)}
			defer m.world.close()
			actions := rapid.StateMachineActions(m)
			for name, n := range often {
				for i := range n - 1 {
					actions[fmt.Sprint(name, i)] = actions[name]
				}
			}
			m.Register(rt)
			if rapid.IntRange(0, 3).Draw(rt, "start late") > 0 {
				m.Start(rt)
			}
			rt.Repeat(actions)
		})
	})
}

// setting sets a flag of rapid, unless the command line has set it.
func setting(t *testing.T, name, value string) {
	if f := flag.Lookup(name); f.Value.String() == f.DefValue {
		if err := f.Value.Set(value); err != nil {
			t.Fatal(err)
		}
	}
}

// bubble runs f in simulated time. rapid ends a case by a panic, so bubble passes a panic on to the
// goroutine on which rapid waits for it. rapid tells failures apart by their lines, so a panic that
// means an impossible case, or a case with nothing left to do, is passed on from a line of its own.
func bubble(t *testing.T, f func()) {
	var thrown any
	synctest.Test(t, func(*testing.T) {
		defer func() { thrown = recover() }()
		f()
	})
	if fmt.Sprintf("%T", thrown) == "rapid.invalidData" || strings.HasPrefix(fmt.Sprint(thrown), "can't find a valid") {
		panic(thrown)
	}
	if thrown != nil {
		panic(thrown)
	}
}

// settle lets at least d pass, until the library is quiet and the clock is at a multiple of step.
func (m *machine) settle(d time.Duration) {
	now := time.Now()
	time.Sleep(now.Add(d + step - 1).Truncate(step).Sub(now))
	synctest.Wait()
	for _, p := range m.pools {
		if !m.closed {
			p.advance(time.Now())
		}
	}
}

// some draws a registered pool.
func (m *machine) some(t *rapid.T) *pool {
	all := m.registered(false)
	if len(all) == 0 {
		t.Skip("no pool is registered")
	}
	return m.pools[rapid.SampledFrom(all).Draw(t, "pool")]
}

// where draws a pool and a user of it, who is mostly connected.
func (m *machine) where(t *rapid.T) (*pool, *user) {
	suits := func(*conn) bool { return true }
	if len(m.places(suits)) > 0 && rapid.IntRange(0, 3).Draw(t, "connected") > 0 {
		return m.connected(t, suits)
	}
	p := m.some(t)
	return p, p.user(rapid.SampledFrom(ids).Draw(t, "id"))
}

// A place is a user of a pool.
type place struct {
	p *pool
	u *user
}

// places returns all places whose connection suits.
func (m *machine) places(suits func(c *conn) bool) (all []place) {
	for _, name := range names {
		for _, id := range ids {
			if p := m.pools[name]; p != nil && !p.chance && p.user(id).conn != nil && suits(p.user(id).conn) {
				all = append(all, place{p, p.user(id)})
			}
		}
	}
	return all
}

// connected draws one of the places whose connection suits.
func (m *machine) connected(t *rapid.T, suits func(c *conn) bool) (*pool, *user) {
	all := m.places(suits)
	if len(all) == 0 {
		t.Skip("no connection suits")
	}
	at := all[rapid.IntRange(0, len(all)-1).Draw(t, "connection")]
	return at.p, at.u
}

// expect compares an error with the expected one.
func expect(t *rapid.T, what string, got, want error) {
	t.Helper()
	if want == nil && got != nil || !errors.Is(got, want) {
		t.Fatalf("%s returns %v, want %v", what, got, want)
	}
}

// closing returns how long a connection may take to close: about a second
// if the pool must wait for the close frame, or for a write before it.
// Without Upgrade it takes half a second if the handler does not return.
func closing(u *user) time.Duration {
	switch c := u.conn; {
	case c == nil, c.kind == raw, !c.choked && c.kind != plain:
		return step
	case !c.choked:
		return patience/2 + step
	}
	return 3 * patience / 2
}

// Check compares everything that can be seen.
func (m *machine) Check(t *rapid.T) {
	synctest.Wait()
	for _, c := range m.world.conns {
		if m.pools[c.pool].chance {
			continue
		}
		got, err := c.received()
		if !slices.Equal(got, c.want) {
			t.Fatalf("%v connection of %q received %q, want %q (%v)", c.kind, c.id, got, c.want, err)
		}
		if c.over && !c.choked && err == nil {
			t.Fatalf("%v connection of %q is open", c.kind, c.id)
		}
		if !c.over && !c.gone && err != nil {
			t.Fatalf("%v connection of %q has ended: %v", c.kind, c.id, err)
		}
	}
	if got := m.world.pool.Stats(); len(got) != len(m.pools) {
		t.Fatalf("Stats of %d pools, want %d", len(got), len(m.pools))
	}
	for i, name := range m.registered(true) {
		if p := m.pools[name]; !p.chance {
			m.checkStats(t, p, m.world.pool.Stats()[i])
			m.checkUsers(t, p)
		}
	}
	for _, name := range names {
		if m.pools[name] == nil && (m.world.pool.GetConn(name) != nil || m.world.pool.GetStream(name) != nil) {
			t.Fatalf("pool %q is registered", name)
		}
	}
}

// registered returns the names of the pools, with or without those that are left alone.
func (m *machine) registered(alone bool) (all []string) {
	for _, name := range names {
		if p := m.pools[name]; p != nil && (alone || !p.chance) {
			all = append(all, name)
		}
	}
	return all
}

func (m *machine) checkStats(t *rapid.T, p *pool, got gcpool.Stats) {
	want := got // what the model does not know is not compared
	want.Connections = 0
	for _, u := range p.users {
		if u.conn != nil {
			want.Connections++
		}
	}
	s := p.stats
	want.Waiting, want.WaitingBytes = p.waiting()
	want.Accepted, want.Written, want.Forwarded = s.Accepted, s.Written, 0
	want.Undelivered, want.WrittenBytes = s.Undelivered, s.WrittenBytes
	want.NotConnected, want.Slow, want.Deleted = s.NotConnected, s.Slow, s.Deleted
	want.Expired, want.Closed, want.Other = s.Expired, s.Closed, 0
	want.Joins, want.Leaves, want.Takeovers = s.Joins, s.Leaves, s.Takeovers
	if got != want {
		t.Fatalf("pool %q:\n%+v, want\n%+v", p.name, got, want)
	}
	conns, stream := m.world.pool.GetConn(p.name), m.world.pool.GetStream(p.name)
	if n := conns.Len(); n != want.Connections {
		t.Fatalf("pool %q: Len %d, want %d", p.name, n, want.Connections)
	}
	line := 0
	for _, u := range p.users {
		if u.line {
			line++
		}
	}
	if stream.Len() != line || stream.Cap() != bufferSize || stream.Name() != p.name || conns.Name() != p.name {
		t.Fatalf("in stream %q, of %d, %d ids wait, want %d", stream.Name(), stream.Cap(), stream.Len(), line)
	}
}

func (m *machine) checkUsers(t *rapid.T, p *pool) {
	conns := m.world.pool.GetConn(p.name)
	all := make(map[string]net.Conn)
	for id, c := range conns.All() {
		all[id] = c
	}
	for _, id := range ids {
		u, k := p.user(id), [2]string{p.name, id}
		var got, want net.Conn
		absent := gcpool.ErrNotConnected
		if m.closed {
			absent = gcpool.ErrClosed
		}
		err := conns.Get(id, func(c net.Conn) error { got = c; return nil })
		if u.conn != nil {
			want, absent = u.conn.added, nil
		}
		expect(t, "Get", err, absent)
		if n := conns.Connected(id); got != want || all[id] != want || (n == 1) != (want != nil) {
			t.Fatalf("Get of %q in %q finds %p, All %p, want %p; %d are connected", id, p.name, got, all[id], want, n)
		}
		m.world.mu.Lock()
		reports, presence := m.world.reports[k], m.world.presence[k]
		m.world.mu.Unlock()
		if !slices.Equal(reports, p.reports[id]) {
			t.Fatalf("reported for %q in %q\n%s, want\n%s", id, p.name, strings.Join(reports, "\n"), strings.Join(p.reports[id], "\n"))
		}
		if !slices.Equal(presence, p.presence[id]) {
			t.Fatalf("presence of %q in %q: %v, want %v", id, p.name, presence, p.presence[id])
		}
	}
}

// message makes a new message, whose size may be too large.
func (m *machine) message(t *rapid.T, id string) *message {
	m.count++
	data := fmt.Sprintf("%04d", m.count)
	n := rapid.OneOf(rapid.IntRange(4, 60), rapid.IntRange(4, outboxBytes+2)).Draw(t, "size")
	return &message{id: id, data: data + strings.Repeat("x", n-len(data)), outcome: errNone}
}

// context draws a context, which may end soon.
func (m *machine) context(t *rapid.T, soon bool) (context.Context, context.CancelFunc, bool) {
	if !soon && rapid.Bool().Draw(t, "no deadline") {
		return context.Background(), func() {}, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), short)
	return ctx, cancel, true
}
