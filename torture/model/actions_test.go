package model

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/nulijiabei/gcpool"
	"pgregory.net/rapid"
)

// Register registers a new pool, or one that already exists.
func (m *machine) Register(t *rapid.T) {
	name := rapid.SampledFrom(names).Draw(t, "name")
	overflow := gcpool.Overflow(rapid.IntRange(0, 2).Draw(t, "overflow"))
	mailbox := rapid.Bool().Draw(t, "mailbox")
	opts := []gcpool.Option{gcpool.WithOverflow(overflow)}
	if mailbox {
		opts = append(opts, gcpool.WithMailbox(ttl, mailboxBytes))
	}
	err := m.world.pool.Register(name, opts...)
	switch {
	case m.closed:
		expect(t, "Register", err, gcpool.ErrClosed)
	case m.pools[name] != nil:
		expect(t, "Register", err, gcpool.ErrRegistered)
	default:
		expect(t, "Register", err, nil)
		m.pools[name] = newPool(name, overflow, mailbox)
		m.pools[name].started = m.started
	}
	m.settle(step)
}

// Start calls Start, even if it has been called before.
func (m *machine) Start(t *rapid.T) {
	m.world.pool.Start()
	for _, p := range m.pools {
		if !m.closed {
			p.drain(time.Now())
		}
	}
	m.started = true
	m.settle(step)
}

// Connect connects a user, who may already be connected.
func (m *machine) Connect(t *rapid.T) {
	p, u := m.where(t)
	k := kind(rapid.IntRange(0, 2).Draw(t, "kind"))
	hold := k != raw && rapid.IntRange(0, 3).Draw(t, "hold") == 0
	hub := k == raw && rapid.Bool().Draw(t, "hub")
	if m.closed {
		if k != raw {
			t.Skip("the server's state depends on chance")
		}
		c, err := m.world.connect(p.name, u.id, raw, false, hub)
		expect(t, "ConnPool.Add", err, gcpool.ErrClosed)
		c.client.Close() // Add leaves a connection that it refuses open
		c.over = true
		return
	}
	takes := closing(u)
	c, err := m.world.connect(p.name, u.id, k, hold, hub)
	expect(t, "connect", err, nil)
	p.add(u, c, time.Now())
	m.settle(takes)
}

// AddAgain adds the connection that a user already has.
func (m *machine) AddAgain(t *rapid.T) {
	p, u := m.connected(t, func(*conn) bool { return true })
	var err error
	caller{m.world.hub, false}.do(func() { err = m.world.pool.GetConn(p.name).Add(u.id, u.conn.added) })
	expect(t, "ConnPool.Add", err, nil)
}

// Wrong makes calls whose arguments must be refused.
func (m *machine) Wrong(t *rapid.T) {
	p := m.some(t)
	conns, stream := m.world.pool.GetConn(p.name), m.world.pool.GetStream(p.name)
	expect(t, "Add without an id", stream.Add("", []byte("x")), gcpool.ErrInvalid)
	expect(t, "ConnPool.Add without an id", conns.Add("", nil), gcpool.ErrInvalid)
	expect(t, "ConnPool.Add without a connection", conns.Add("a", nil), gcpool.ErrInvalid)
	expect(t, "Get without a function", conns.Get("a", nil), gcpool.ErrInvalid)
	none := m.world.pool.GetStream("none")
	expect(t, "Add without a pool", none.Add("a", nil), gcpool.ErrNotRegistered)
	expect(t, "Broadcast without a pool", none.Broadcast(nil), gcpool.ErrNotRegistered)
}

// DelConn removes a connection with DelConn; it may be one that has already been removed.
func (m *machine) DelConn(t *rapid.T) {
	if len(m.world.conns) == 0 {
		t.Skip("no connection")
	}
	c := m.world.conns[rapid.IntRange(0, len(m.world.conns)-1).Draw(t, "of all connections")]
	p := m.pools[c.pool]
	if p.chance {
		t.Skip("its pool is left alone")
	}
	u := p.user(c.id)
	takes := closing(u)
	got := m.world.pool.GetConn(c.pool).DelConn(c.id, c.added)
	if got != (u.conn == c) {
		t.Fatalf("DelConn of %q in %q returns %v", c.id, c.pool, got)
	}
	if got {
		c.deleted = true
		p.remove(u, gcpool.ErrDeleted, time.Now())
	}
	m.settle(takes)
}

// errUnwanted is what Get's function returns.
var errUnwanted = errors.New("unwanted")

// GetFails makes Get remove a connection.
func (m *machine) GetFails(t *rapid.T) {
	p, u := m.connected(t, func(*conn) bool { return true })
	takes := closing(u)
	got := m.world.pool.GetConn(p.name).Get(u.id, func(c net.Conn) error { return errUnwanted })
	expect(t, "Get", got, errUnwanted)
	p.remove(u, gcpool.ErrNotConnected, time.Now())
	m.settle(takes)
}

// Leave makes a peer close its connection.
func (m *machine) Leave(t *rapid.T) {
	p, u := m.connected(t, func(c *conn) bool { return !c.gone && !c.choked })
	c := u.conn
	c.client.Close()
	switch {
	case (c.kind == raw || c.hold) && !p.started: // how many waiting messages it fails depends on chance
		c.deleted = true
		p.remove(u, gcpool.ErrDeleted, time.Now())
		m.world.pool.GetConn(p.name).DelConn(c.id, c.added)
		m.settle(step)
	case c.kind == raw || c.hold:
		c.gone = true
		m.settle(step)
	default:
		p.remove(u, gcpool.ErrDeleted, time.Now()) // by its handler's Del
		m.settle(step)
	}
}

// Release lets a handler end: at once if its connection has ended, or else as soon as it does.
func (m *machine) Release(t *rapid.T) {
	held := m.held()
	if len(held) == 0 {
		t.Skip("no handler is held")
	}
	m.release(held[rapid.IntRange(0, len(held)-1).Draw(t, "held")])
}

// held returns the connections whose handlers wait to be released, or will.
func (m *machine) held() (held []*conn) {
	for _, c := range m.world.conns {
		if c.hold && !m.pools[c.pool].chance {
			held = append(held, c)
		}
	}
	return held
}

func (m *machine) release(c *conn) {
	p := m.pools[c.pool]
	u := p.user(c.id)
	takes := closing(u)
	c.free()
	if c.over || c.gone { // otherwise it is still reading
		p.del(u, caller{adder: c.adder}, time.Now())
	}
	m.settle(takes)
}

// Choke makes a peer stop reading.
func (m *machine) Choke(t *rapid.T) {
	_, u := m.connected(t, func(c *conn) bool { return !c.gone && !c.choked })
	if !m.started {
		t.Skip("what comes with Start is written in batches of any size")
	}
	u.conn.choked = true
	u.conn.server.Choke(true)
}

// Resume lets it read again.
func (m *machine) Resume(t *rapid.T) {
	p, u := m.connected(t, func(c *conn) bool { return c.choked })
	u.conn.choked = false
	u.conn.server.Choke(false)
	for _, msg := range u.queue {
		p.write(u, msg)
	}
	u.queue = nil
	m.settle(step)
}

// Sleep lets time pass.
func (m *machine) Sleep(t *rapid.T) {
	m.settle(time.Duration(rapid.IntRange(1, 40).Draw(t, "steps")) * step)
}

// Shutdown shuts the pool down, but only one time in ten.
func (m *machine) Shutdown(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "really") > 0 {
		t.Skip("not yet")
	}
	for _, c := range m.held() {
		m.release(c)
	}
	now := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got := m.world.pool.Shutdown(ctx)
	var want error
	for _, p := range m.pools {
		if m.closed {
			break
		}
		if err := p.shutdown(now, now.Add(patience)); err != nil {
			want = err
		}
	}
	if !m.closed {
		m.outcome = want
	}
	m.closed = true
	if len(m.registered(false)) == len(m.pools) {
		expect(t, "Shutdown", got, m.outcome)
	}
	m.settle(step)
}
