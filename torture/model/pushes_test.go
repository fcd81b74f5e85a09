package model

import (
	"context"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool"
	"pgregory.net/rapid"
)

// Push adds a message.
func (m *machine) Push(t *rapid.T) {
	p, u := m.where(t)
	msg := m.message(t, u.id)
	ctx, cancel, soon := m.context(t, !p.started && p.places == bufferSize)
	defer cancel()
	refused := m.push(p, u, msg, soon)
	buf := []byte(msg.data)
	expect(t, "Add", m.world.pool.GetStream(p.name).AddContext(ctx, u.id, buf), refused)
	clear(buf) // buf belongs to the caller
	m.settle(step)
}

// Deliver pushes a message and waits for its outcome.
func (m *machine) Deliver(t *rapid.T) {
	p, u := m.where(t)
	msg := m.message(t, u.id)
	msg.deliver = true
	ctx, cancel := context.WithTimeout(context.Background(), short)
	defer cancel()
	now := time.Now()
	want := m.push(p, u, msg, true)
	if want == nil {
		p.advance(now.Add(short))
		want = msg.outcome
	}
	if want == errNone {
		want = context.DeadlineExceeded
	}
	buf := []byte(msg.data)
	expect(t, "Deliver", m.world.pool.GetStream(p.name).Deliver(ctx, u.id, buf), want)
	clear(buf)
	msg.deliver = false
	m.settle(step)
}

// push models the push of a message, and returns an error if it is refused.
func (m *machine) push(p *pool, u *user, msg *message, soon bool) (refused error) {
	now := time.Now()
	wait := u.wait(len(msg.data), now)
	switch {
	case len(msg.data) > outboxBytes:
		return gcpool.ErrTooLarge
	case m.closed:
		return gcpool.ErrClosed
	case !p.started && p.places == bufferSize, wait > 0 && soon:
		return context.DeadlineExceeded
	case !p.started:
		p.places++
		p.early(u, msg, now)
		return nil
	}
	p.advance(now.Add(wait))
	p.push(u, msg, now.Add(wait))
	return nil
}

// Broadcast pushes a message to all. If several peers do not read or have gone, it depends on
// chance whose messages are older in the mailbox.
func (m *machine) Broadcast(t *rapid.T) {
	p := m.some(t)
	var to []*user
	removed := 0
	for _, id := range ids {
		if u := p.user(id); u.conn != nil {
			to = append(to, u)
			if u.conn.choked || u.conn.gone {
				removed++
			}
		}
	}
	if p.mailbox && removed > 1 || !p.started && p.places == bufferSize && !m.closed {
		t.Skip("its outcome depends on chance, or it waits forever")
	}
	msg, now := m.message(t, ""), time.Now()
	buf := []byte(msg.data)
	err := m.world.pool.GetStream(p.name).Broadcast(buf)
	clear(buf)
	switch {
	case len(msg.data) > outboxBytes:
		expect(t, "Broadcast", err, gcpool.ErrTooLarge)
	case m.closed:
		expect(t, "Broadcast", err, gcpool.ErrClosed)
	case !p.started:
		expect(t, "Broadcast", err, nil)
		p.places++
		for _, u := range to {
			p.early(u, &message{data: msg.data}, now)
		}
	default:
		expect(t, "Broadcast", err, nil)
		m.spread(p, to, msg, now)
	}
	m.settle(step)
}

// spread gives msg to each user once there is room.
func (m *machine) spread(p *pool, to []*user, msg *message, now time.Time) {
	wait := func(u *user) time.Duration { return u.wait(len(msg.data), now) }
	slices.SortStableFunc(to, func(a, b *user) int { return int(wait(a) - wait(b)) })
	at := make([]time.Time, len(to))
	for i, u := range to {
		at[i] = now.Add(wait(u))
	}
	for i, u := range to {
		p.advance(at[i])
		if u.conn != nil {
			p.push(u, &message{data: msg.data}, at[i])
		}
	}
}
