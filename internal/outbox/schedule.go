package outbox

import (
	"context"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool/internal/transport"
)

// enqueue puts b at the end of the ready queue.
func (g *Group) enqueue(b *Box) {
	g.mu.Lock()
	g.enqueueLocked(b)
	g.mu.Unlock()
}

func (g *Group) enqueueLocked(b *Box) {
	if g.ready == nil {
		g.ready = b
	} else {
		g.last.next = b
	}
	g.last = b
	g.length++
	g.staffLocked()
}

// inline returns a writer for the caller to serve b with, if the pool is idle; else
// it enqueues b, and returns nil.
func (g *Group) inline(b *Box) *writer {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.serving) > 0 || g.ready != nil || !g.begun.Load() || g.Now()-g.wrote < inlinePause {
		g.enqueueLocked(b)
		return nil
	}
	w := &writer{group: g, box: b}
	g.serving = append(g.serving, w)
	return w
}

// staffLocked adds a writer if one is due, and reports whether it has.
func (g *Group) staffLocked() bool {
	if g.ready == nil || !g.begun.Load() || len(g.serving) >= max(g.limit, g.surge) {
		return false
	}
	w := &writer{group: g}
	g.serving = append(g.serving, w)
	g.employLocked(func() { w.serve(g.next(w)) })
	return true
}

// employ has a writer go on, on a goroutine of its own.
func (g *Group) employ(serve func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.employLocked(serve)
}

func (g *Group) employLocked(serve func()) {
	g.spawn(serve)
	if !g.ticking {
		g.ticking = true
		g.tasks.Add(1)
		time.AfterFunc(tick, g.monitor)
	}
}

// next returns the first box in line for w to serve. With none, or if there are
// enough writers without w, it dismisses w.
func (g *Group) next(w *writer) *Box {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.detached.Swap(false) {
		g.stalled.Add(-1)
		if len(g.serving) >= g.limit {
			return nil
		}
		g.serving = append(g.serving, w)
	}
	b := g.ready
	if b == nil || len(g.serving) > max(g.limit, g.surge) {
		g.wrote = g.Now()
		g.serving = slices.DeleteFunc(g.serving, func(o *writer) bool { return o == w })
		return nil
	}
	g.ready, b.next, w.box = b.next, nil, b
	g.length--
	return b
}

// monitor replaces the writers that have been in one write since the last tick,
// each by several: peers that stop at once, as after a Broadcast on a network that
// has gone, would each keep those in line behind them for a tick else. It runs only
// while there are writers.
func (g *Group) monitor() {
	held := map[*writer]*Box{}
	g.mu.Lock()
	g.serving = slices.DeleteFunc(g.serving, func(w *writer) bool {
		if w.stuck() {
			w.detached.Store(true)
			g.stalled.Add(1)
			held[w] = w.box
		}
		return held[w] != nil
	})
	for g.surge = several * len(held); g.staffLocked(); {
	}
	again := len(g.serving) > 0
	g.ticking = again
	g.mu.Unlock()
	for w, b := range held {
		b.watch(w, tick)
	}
	if again {
		time.AfterFunc(tick, g.monitor)
	} else {
		g.tasks.Add(-1)
	}
}

// closeLink closes link on a goroutine of its own, for that may take a while. Shutdown waits
// until the socket is closed, but not past Cut.
func (g *Group) closeLink(link *transport.Link, status transport.Status) {
	g.tasks.Add(1)
	stop := context.AfterFunc(g.over, func() {
		defer g.tasks.Add(-1)
		link.Kill()
	})
	go link.Close(status, func() {
		if stop() {
			g.tasks.Add(-1)
		}
	})
}

// spawn runs f on a goroutine that Shutdown waits for.
func (g *Group) spawn(f func()) {
	g.tasks.Add(1)
	go func() {
		defer g.tasks.Add(-1)
		f()
	}()
}
