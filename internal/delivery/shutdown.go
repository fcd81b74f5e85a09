package delivery

import (
	"context"
	"time"
)

const (
	// grace is how long after the end of its context Shutdown waits for what it has cut off.
	grace = 250 * time.Millisecond
	// slowest is the longest pause between two looks at what is left.
	slowest = 16 * time.Millisecond
)

// Shutdown ends a closed group: it waits until the logs have drained, says goodbye to each
// WebSocket, and waits for the peers to leave. When ctx ends, it closes the connections that are
// left and returns ctx's error. Only the handlers see the peers leave, so Shutdown has nothing to
// wait for, and polls.
func (g *Group) Shutdown(ctx context.Context) (err error) {
	over, end := ctx.Done(), (<-chan time.Time)(nil)
	for pause := time.Millisecond; ; pause = min(2*pause, slowest) {
		if timer := g.beat.Swap(nil); timer != nil && timer.Stop() {
			g.Tasks.End()
		}
		for _, r := range g.all() {
			r.Leave(err != nil, false)
		}
		g.Mailbox.Trim(ctx) // while ctx lasts; after that, Leave gives up all messages at once
		if len(g.all()) == 0 && g.Tasks.None() {
			return err
		}
		select {
		case <-time.After(pause):
		case <-over:
			err, over, end = ctx.Err(), nil, time.After(grace)
		case <-end:
			for _, r := range g.all() {
				r.Leave(true, true)
			}
			return err
		}
	}
}
