package model

import (
	"slices"
	"time"

	"github.com/nulijiabei/gcpool"
	"pgregory.net/rapid"
)

// An adder is a goroutine that adds connections: a handler, which adds its own, or the hub, which
// adds some of every user. Both the adder and a goroutine that it has started carry out calls.
type adder struct {
	own  chan func() // nil while it is busy reading
	pump chan func()
}

// newAdder returns an adder that only carries out calls.
func newAdder() *adder {
	a := &adder{own: make(chan func())}
	started := make(chan bool)
	go func() {
		a.start()
		close(started)
		carryOut(a.own)
	}()
	<-started
	return a
}

// start must be called on the adder's goroutine.
func (a *adder) start() {
	a.pump = make(chan func())
	go carryOut(a.pump)
}

func (a *adder) end() {
	if close(a.pump); a.own != nil {
		close(a.own)
	}
}

func carryOut(calls chan func()) {
	for call := range calls {
		call()
	}
}

// A caller is a goroutine that calls Del: an adder, a goroutine that an adder has started, or a
// stranger, whose adder is nil.
type caller struct {
	*adder
	pump bool
}

// do makes the caller carry out a call. A stranger's call runs on the test's goroutine.
func (c caller) do(call func()) {
	calls := (chan func())(nil)
	switch {
	case c.adder == nil:
		call()
		return
	case c.pump:
		calls = c.adder.pump
	default:
		calls = c.adder.own
	}
	done := make(chan bool)
	calls <- func() {
		defer close(done)
		call()
	}
	<-done
}

// del models Del by a caller, and returns what Del must return.
func (p *pool) del(u *user, by caller, now time.Time) bool {
	if u.speaks(by) && u.conn != nil {
		p.remove(u, gcpool.ErrDeleted, now)
		return true
	}
	return false
}

// rememberedConns is the number of an id's newest connections whose adders the pool remembers.
// Of older connections, it remembers adders that have not called Del since.
const rememberedConns = 16

// remember records that c was added.
func (u *user) remember(c *conn) {
	u.added = slices.DeleteFunc(u.added, func(old *conn) bool { return old.deleted && old.adder == c.adder })
	older := max(0, len(u.added)-rememberedConns+1)
	kept := slices.DeleteFunc(slices.Clone(u.added[:older]), func(old *conn) bool { return old.deleted })
	u.added = append(append(kept, u.added[older:]...), c)
}

// leave records that c is no longer its id's connection. Its handler, unless it is held, calls Del.
func (c *conn) leave() {
	c.over = true
	c.deleted = c.deleted || c.kind != raw && !c.hold
}

// speaks records that by calls Del, and reports whether by may remove the connection that u
// has. An adder with one connection of u since its last Del may remove that connection and no
// other, and so may a goroutine that it started. An adder with several may remove any, but the
// goroutines that it started may remove none. Strangers may remove any.
func (u *user) speaks(by caller) bool {
	added, since := false, []*conn(nil)
	for _, c := range u.added {
		if c.adder == by.adder {
			added = true
			if !c.deleted {
				since = append(since, c)
			}
		}
	}
	switch {
	case !added:
		return true
	case len(since) == 1:
		since[0].deleted = true
		return since[0] == u.conn
	}
	return len(since) > 1 && !by.pump
}

// DelByAStranger makes a stranger delete a user, who may be away.
func (m *machine) DelByAStranger(t *rapid.T) {
	p, u := m.where(t)
	m.del(t, p, u, caller{})
}

// DelByTheHub makes the hub delete a user, whether or not the hub has added that user.
func (m *machine) DelByTheHub(t *rapid.T) {
	p, u := m.where(t)
	m.del(t, p, u, caller{m.world.hub, rapid.Bool().Draw(t, "pump")})
}

// DelByAHandler makes a handler, or a goroutine that it started, call Del. The handler's
// connection may or may not still be its id's.
func (m *machine) DelByAHandler(t *rapid.T) {
	var all []*conn
	for _, c := range m.world.conns {
		if c.adder != nil && c.adder != m.world.hub && !m.pools[c.pool].chance {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		t.Skip("no handler")
	}
	c := all[rapid.IntRange(0, len(all)-1).Draw(t, "of all handlers")]
	p := m.pools[c.pool]
	m.del(t, p, p.user(c.id), caller{c.adder, c.adder.own == nil || rapid.Bool().Draw(t, "pump")})
}

func (m *machine) del(t *rapid.T, p *pool, u *user, by caller) {
	takes := closing(u)
	var got bool
	by.do(func() { got = m.world.pool.GetConn(p.name).Del(u.id) })
	if want := !m.closed && p.del(u, by, time.Now()); got != want {
		t.Fatalf("Del of %q in %q returns %v", u.id, p.name, got)
	}
	m.settle(takes)
}

// Kick kicks a user, who may be away. It does not matter who calls.
func (m *machine) Kick(t *rapid.T) {
	p, u := m.where(t)
	takes := closing(u)
	by := rapid.SampledFrom([]caller{{}, {m.world.hub, false}, {m.world.hub, true}}).Draw(t, "by")
	var got int
	var err error
	by.do(func() { got, err = m.world.pool.GetConn(p.name).Kick(u.id, 4999, "kicked") })
	expect(t, "Kick", err, nil)
	want := 0
	if u.conn != nil {
		want = 1
		p.remove(u, gcpool.ErrDeleted, time.Now())
	}
	if got != want {
		t.Fatalf("Kick of %q in %q returns %d", u.id, p.name, got)
	}
	m.settle(takes)
}
