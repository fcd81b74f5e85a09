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
			r.leave(err != nil)
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
				r.cut()
			}
			return err
		}
	}
}

// leave takes r a step towards its end: when nothing waits for its peer any more it says
// goodbye, and when the peer has left, or does not answer, or time is over, it removes the
// connection. A raw connection has no goodbye.
func (r *Recipient) leave(over bool) {
	now := r.group.line.Now()
	r.mu.Lock()
	c, conn := &r.cursor, r.cursor.conn
	if conn != nil && !over && c.turn == idle && conn.life == open && conn.link.WebSocket() {
		c.say(frame.Close, now)
	}
	late := over || c.turn == idle && (conn == nil || conn.life == open || now-conn.written >= r.group.WriteTimeout)
	switch {
	case conn == nil:
	case late && conn.life == goodbye: // nobody answers
		r.removeLocked(outcome.ErrClosed, transport.Status{})
	case late:
		r.removeLocked(outcome.ErrClosed, transport.StatusGoingAway)
	case c.turn == idle:
		r.askLocked(conn, outcome.ErrClosed)
	}
	r.mu.Unlock()
	if conn == nil {
		if over {
			r.WithoutRemote(outcome.ErrClosed, true)
		}
		r.group.retire(r)
	}
}

// cut gives up a write that heeds nothing, and what waits behind it.
func (r *Recipient) cut() {
	r.leave(true)
	r.mu.Lock()
	if f := r.cursor.flight; f != nil {
		f.abandon(outcome.ErrClosed)
	}
	r.mu.Unlock()
	r.leave(true)
}
