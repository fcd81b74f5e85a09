package delivery

import (
	"context"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/transport"
)

const (
	// grace is how long after the end of its context Shutdown waits for what
	// it has cut.
	grace = 250 * time.Millisecond
	// slowest is the longest pause between two looks at what is left.
	slowest = 16 * time.Millisecond
)

// Close makes the group refuse new messages and connections.
func (g *Group) Close() {
	g.closed.Store(true)
	g.mailbox.Close()
	close(g.done)
}

// Shutdown ends a closed group: it waits until the logs have drained, says
// goodbye to each WebSocket, and waits for the peers to leave. When ctx ends it
// closes what is left and returns ctx's error. Only their handlers see the peers leave, so there is
// nothing to wait on, and it polls.
func (g *Group) Shutdown(ctx context.Context) (err error) {
	over, end := ctx.Done(), (<-chan time.Time)(nil)
	for pause := time.Millisecond; ; pause = min(2*pause, slowest) {
		if timer := g.beat.Swap(nil); timer != nil && timer.Stop() {
			g.tasks.End()
		}
		for _, r := range g.all() {
			r.leave(err != nil, false)
		}
		g.mailbox.Trim()
		if len(g.all()) == 0 && g.tasks.None() {
			return err
		}
		select {
		case <-time.After(pause):
		case <-over:
			err, over, end = ctx.Err(), nil, time.After(grace)
		case <-end:
			for _, r := range g.all() {
				r.leave(true, true)
			}
			return err
		}
	}
}

// leave takes r a step towards its end: when nothing waits for its peer any more it says
// goodbye, and when the peer has left, or does not answer, or time is over, it removes the
// connection. A raw connection has no goodbye. Told so, leave gives up a write that heeds
// nothing.
func (r *Recipient) leave(over, giveUp bool) {
	now := r.group.line.Now()
	r.mu.Lock()
	c, conn := &r.cursor, r.cursor.conn
	if conn != nil {
		if !over && c.turn == idle && conn.life == open && conn.WebSocket() {
			c.say(frame.Close, now)
		}
		unanswered := conn.life == goodbye && (over || now-conn.written >= r.group.WriteTimeout)
		switch {
		case unanswered && (over || c.turn == idle):
			r.removeLocked(outcome.ErrClosed, transport.Status{})
		case over || c.turn == idle && conn.life == open:
			r.removeLocked(outcome.ErrClosed, transport.StatusGoingAway)
		case c.turn == idle:
			c.ask(conn, outcome.ErrClosed)
		}
	}
	if giveUp && c.flight != nil {
		c.flight.abandon(outcome.ErrClosed)
	}
	away := c.conn == nil
	r.mu.Unlock()
	if away {
		if over {
			r.WithoutRemote(outcome.ErrClosed, true)
		}
		r.group.retire(r)
	}
}
