package model

import (
	"context"
	"errors"
	"time"

	"github.com/nulijiabei/gcpool"
)

// The options of every pool. Their times fall between the times at which the machine acts and
// checks, which are multiples of step.
const (
	step         = 100 * time.Millisecond
	short        = 40 * time.Millisecond // how long a context lasts
	outboxBytes  = 100
	mailboxBytes = 150
	bufferSize   = 3
	ttl          = 2050 * time.Millisecond
	timeout      = 3030 * time.Millisecond
	patience     = time.Second
)

// A pool is what the model knows of a pool. Its method names are
// taken from the library's documentation.
type pool struct {
	name     string
	overflow gcpool.Overflow
	mailbox  bool
	started  bool
	chance   bool // the mailbox's content depends on chance, so the pool is left alone
	users    map[string]*user
	places   int // places taken in the buffer before Start
	mail     []mailed
	stats    gcpool.Stats // without the messages that wait
	reports  map[string][]string
	presence map[string][]bool
}

// A user is one id.
type user struct {
	id    string
	conn  *conn
	queue []*message // waiting messages; if the connection is choked, the first is being written
	line  bool       // waits in the stream, before Start
	since time.Time  // when the write began
	added []*conn    // the connections whose adders are remembered
}

// A message is one payload.
type message struct {
	id      string // empty for a Broadcast
	data    string
	deliver bool  // a Deliver waits for it
	outcome error // for Deliver; errNone until there is one
}

// A mailed is a message in the mailbox.
type mailed struct {
	user    *user
	message *message
	expires time.Time
}

var errNone = errors.New("no outcome")

func newPool(name string, overflow gcpool.Overflow, mailbox bool) *pool {
	return &pool{name: name, overflow: overflow, mailbox: mailbox, users: make(map[string]*user),
		stats: gcpool.Stats{Name: name}, reports: make(map[string][]string), presence: make(map[string][]bool)}
}

func (p *pool) user(id string) *user {
	if p.users[id] == nil {
		p.users[id] = &user{id: id}
	}
	return p.users[id]
}

// held returns how many bytes wait.
func (u *user) held() (n int) {
	for _, m := range u.queue {
		n += len(m.data)
	}
	return n
}

// wait returns how long Add waits for room for n bytes.
func (u *user) wait(n int, now time.Time) time.Duration {
	if u.conn == nil || !u.conn.choked || u.held()+n <= outboxBytes {
		return 0
	}
	return max(0, patience-now.Sub(u.since))
}

// early accepts m for u before Start. The message waits for Start, or
// behind the mail of a user who has some.
func (p *pool) early(u *user, m *message, now time.Time) {
	p.stats.Accepted++
	behind := u.conn == nil && len(u.queue) > 0 && p.isMail(u.queue[0])
	u.queue = append(u.queue, m)
	if behind {
		p.keep(u, now, m)
	} else {
		u.line = true
	}
}

// push accepts m for u.
func (p *pool) push(u *user, m *message, now time.Time) {
	p.stats.Accepted++
	switch c := u.conn; {
	case c == nil && p.mailbox && len(m.data) <= mailboxBytes:
		u.queue = append(u.queue, m)
		p.keep(u, now, m)
	case c == nil:
		p.fail(u, m, gcpool.ErrNotConnected)
	case c.choked:
		p.pushChoked(u, m, now)
	case c.gone && c.kind == plain: // x/net does not report how much was written
		p.fail(u, m, gcpool.ErrNotConnected)
		p.remove(u, gcpool.ErrNotConnected, now)
	case c.gone:
		u.queue = append(u.queue, m)
		p.remove(u, gcpool.ErrNotConnected, now)
	default:
		p.write(u, m)
	}
}

// pushChoked is push for a peer that does not read.
func (p *pool) pushChoked(u *user, m *message, now time.Time) {
	fits := func() bool { return u.held()+len(m.data) <= outboxBytes }
	if p.overflow == gcpool.DropOldest {
		for !fits() && len(u.queue) > 1 && len(u.queue[0].data)+len(m.data) <= outboxBytes { // otherwise no message that gives way would make enough room
			p.fail(u, u.queue[1], gcpool.ErrSlow)
			u.queue = append(u.queue[:1:1], u.queue[2:]...)
		}
	}
	switch {
	case fits():
		if u.queue = append(u.queue, m); len(u.queue) == 1 {
			u.since = now
		}
	case p.overflow == gcpool.Disconnect:
		u.queue = append(u.queue, m)
		p.remove(u, gcpool.ErrSlow, now)
	default:
		p.fail(u, m, gcpool.ErrSlow)
	}
}

// write delivers m to u's peer.
func (p *pool) write(u *user, m *message) {
	p.stats.Written++
	p.stats.WrittenBytes += uint64(len(m.data))
	u.conn.want = append(u.conn.want, m.data)
	m.outcome = nil
}

// fail reports m.
func (p *pool) fail(u *user, m *message, err error) {
	p.stats.Undelivered++
	for reason, n := range map[error]*uint64{gcpool.ErrNotConnected: &p.stats.NotConnected, gcpool.ErrSlow: &p.stats.Slow,
		gcpool.ErrDeleted: &p.stats.Deleted, gcpool.ErrExpired: &p.stats.Expired, gcpool.ErrClosed: &p.stats.Closed} {
		if errors.Is(err, reason) {
			*n++
		}
	}
	if m.deliver {
		m.outcome = err
		return
	}
	p.reports[u.id] = append(p.reports[u.id], m.data+": "+err.Error())
}

// add makes c the connection of u.
func (p *pool) add(u *user, c *conn, now time.Time) {
	old := u.conn
	u.conn = c
	u.remember(c)
	if old == nil {
		p.stats.Joins++
		p.presence[u.id] = append(p.presence[u.id], true)
	} else {
		p.stats.Takeovers++
		old.leave()
		if old.choked && len(u.queue) > 0 && old.kind == plain { // x/net does not report how much was written
			p.fail(u, u.queue[0], gcpool.ErrNotConnected)
			u.queue = u.queue[1:]
		}
	}
	for _, m := range u.queue {
		p.forget(m)
		if p.started {
			p.write(u, m)
		}
	}
	if p.started {
		u.queue = nil
	}
	u.line = !p.started && (u.line || len(u.queue) > 0)
}

// remove takes u's connection away for a reason.
func (p *pool) remove(u *user, reason error, now time.Time) {
	c, all := u.conn, u.queue
	u.conn, u.queue = nil, nil
	p.stats.Leaves++
	p.presence[u.id] = append(p.presence[u.id], false)
	c.leave()
	var writing []*message
	wrote := c.choked && len(all) > 0
	if wrote {
		writing, all = all[:1:1], all[1:]
		if c.kind == plain || !p.mailbox {
			p.fail(u, writing[0], reason)
			writing = nil
		}
	}
	if !p.mailbox {
		for _, m := range all {
			p.fail(u, m, reason)
		}
		return
	}
	u.queue = all
	// Chance decides whether the message that was being written comes
	// back before or after others give way. On a WebSocket, whose write
	// has a second to end, it also decides when the message expires.
	if wrote && (c.kind != raw && reason != gcpool.ErrSlow || p.over(append(writing, all...))) {
		p.chance = true
	}
	p.keep(u, now, all...)
	u.queue = append(writing, u.queue...)
	p.keep(u, now, writing...)
}

// drain decides the outcome of what was added before Start. If several users are away, it
// depends on chance whose messages are older in the mailbox.
func (p *pool) drain(now time.Time) {
	if p.started {
		return
	}
	p.started = true
	kept := 0
	for _, u := range p.users {
		u.line = false
		all := u.queue
		switch {
		case len(all) == 0 || u.conn == nil && p.isMail(all[0]):
		case u.conn != nil:
			u.queue = nil
			for _, m := range all {
				p.write(u, m)
			}
		case p.mailbox:
			if kept++; kept > 1 {
				p.chance = true
			}
			p.keep(u, now, all...)
		default:
			u.queue = nil
			for _, m := range all {
				p.fail(u, m, gcpool.ErrNotConnected)
			}
		}
	}
}

// advance makes everything happen that time brings until now.
func (p *pool) advance(now time.Time) {
	for {
		var slow *user
		for _, u := range p.users {
			if u.conn != nil && u.conn.choked && len(u.queue) > 0 && !now.Before(u.since.Add(timeout)) &&
				(slow == nil || u.since.Before(slow.since)) {
				slow = u
			}
		}
		if slow == nil {
			p.trim(now)
			return
		}
		at := slow.since.Add(timeout)
		p.trim(at)
		p.remove(slow, gcpool.ErrSlow, at)
	}
}

// shutdown models a Shutdown that lasts until end at most, and returns its error.
func (p *pool) shutdown(now, end time.Time) (err error) {
	p.mailbox = false
	for len(p.mail) > 0 {
		p.giveWay(gcpool.ErrClosed)
	}
	p.drain(now)
	p.advance(end)
	for _, u := range p.users {
		if c := u.conn; c != nil {
			if c.choked && (c.kind != raw || len(u.queue) > 0) {
				err = context.DeadlineExceeded
			}
			p.remove(u, gcpool.ErrClosed, end)
		}
	}
	return err
}

// waiting returns the number and size of the messages without an outcome.
func (p *pool) waiting() (n, bytes int) {
	for _, u := range p.users {
		n += len(u.queue)
		bytes += u.held()
	}
	return n, bytes
}
