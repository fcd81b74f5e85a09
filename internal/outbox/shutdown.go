package outbox

import (
	"context"
	"time"

	"github.com/nulijiabei/gcpool/internal/transport"

	"github.com/nulijiabei/gcpool/internal/frame"
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
	close(g.done)
}

// Shutdown ends a closed group: it waits until the boxes have drained, says
// goodbye to each WebSocket, and waits for the peers to leave. When ctx ends it
// closes what is left and returns ctx's error. Only their handlers see the peers leave, so there is
// nothing to wait on, and it polls.
func (g *Group) Shutdown(ctx context.Context) (err error) {
	over, end := ctx.Done(), (<-chan time.Time)(nil)
	for pause := time.Millisecond; ; pause = min(2*pause, slowest) {
		if timer := g.beat.Swap(nil); timer != nil && timer.Stop() {
			g.tasks.Add(-1)
		}
		for _, b := range g.boxes() {
			b.leave(err != nil)
		}
		g.mailbox.trim()
		if len(g.boxes()) == 0 && g.tasks.Load() == 0 {
			return err
		}
		select {
		case <-time.After(pause):
		case <-over:
			err, over, end = ctx.Err(), nil, time.After(grace)
		case <-end:
			for _, b := range g.boxes() {
				b.cut()
			}
			return err
		}
	}
}

// leave takes b a step towards its end: when nothing waits for its peer any
// more it says goodbye, and when the peer has left, or does not answer, or time
// is over, it removes the connection. A raw connection has no goodbye.
func (b *Box) leave(over bool) {
	now := b.group.Now()
	b.mu.Lock()
	link := b.link
	if link != nil && !over && !b.busy && !b.goodbye && link.WebSocket() {
		b.goodbye, b.control, b.idle = true, frame.Close, now
		b.wakeLocked()
	}
	late := over || !b.busy && (!b.goodbye || now-b.idle >= b.group.WriteTimeout)
	switch {
	case link == nil:
	case late && b.goodbye: // nobody answers
		b.removeLocked(ErrClosed, transport.Status{})
	case late:
		b.removeLocked(ErrClosed, transport.StatusGoingAway)
	case !b.busy:
		b.askLocked(link, ErrClosed)
	}
	b.mu.Unlock()
	if link == nil {
		if over {
			b.WithoutRemote(ErrClosed, true)
		}
		b.group.retire(b)
	}
}

// cut gives up a write that heeds nothing, and what waits behind it.
func (b *Box) cut() {
	b.leave(true)
	b.mu.Lock()
	if w := b.flight; w != nil {
		b.giveUpLocked(w, ErrClosed)
	}
	b.mu.Unlock()
	b.leave(true)
}
