package outbox

import (
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// Beat has every box look after its connection from now on, about once a second
// and less often the more there are: one timer for all, that runs only while
// there are boxes.
func (g *Group) Beat() {
	if g.beating.Load() || !g.beating.CompareAndSwap(false, true) {
		return
	}
	g.tasks.Add(1)
	if g.closed.Load() { // after tasks, so that Shutdown waits or is seen
		g.tasks.Add(-1)
		return
	}
	pause := time.Second
	if g.Heartbeat > 0 {
		pause = min(pause, g.Heartbeat/4)
	}
	pause += pause * time.Duration(g.Connected()) / 250_000
	due := g.Now() + pause
	g.beat.Store(time.AfterFunc(pause, func() {
		defer g.tasks.Add(-1)
		now := g.Now()
		lost := max(0, now-due-pause) // the process was stopped, or its machine slept
		all := g.boxes()
		for _, b := range all {
			b.Beat(now, lost)
		}
		g.beating.Store(false)
		if len(all) > 0 || len(g.boxes()) > 0 { // one may have come too early
			g.Beat()
		}
	}))
}

// Beat is called about once a second. It has a WebSocket pinged to which nothing
// was written for a heartbeat, or from which nothing came if that can be seen. It removes
// a connection whose handler has returned without Del, and one whose peer has been silent
// for two heartbeats, and retires b if nothing keeps it.
//
// A peer is silent that neither sends nor takes anything. What it takes counts while a
// write is stalled, or while the ping may still be behind what the system has for it;
// once the ping has arrived, only an answer ends the silence. A peer that could not be
// heard is not silent: what was lost of the time does not count.
func (b *Box) Beat(now, lost time.Duration) {
	d := b.group.Heartbeat
	b.mu.Lock()
	link, quiet := b.link, now-b.heard >= d
	b.mu.Unlock()
	heard, tells, ends := true, false, false
	if link != nil {
		heard, tells = link.Heard()
		heard = heard || d > 0 && quiet && link.Taking()
		ends = link.Left() // which asks a context of the application's
	}
	b.mu.Lock()
	if ends {
		b.askLocked(link, errLeft)
	}
	b.heard = min(b.heard+lost, now)
	waits := !b.group.Begun()
	if heard || waits || b.flight != nil && b.flight.link == nil { // nothing can be pinged behind that
		b.heard = now
	}
	if alive := b.active || b.busy || waits; !b.goodbye && (tells && (heard || waits) || !tells && alive) {
		b.idle = now
	}
	if !b.active && b.spare != nil {
		b.spare.free()
		b.spare = nil
	}
	b.active = false
	silent := d > 0 && link == b.link && (now-b.heard)/2 >= d
	if d > 0 && !b.goodbye && b.link != nil && b.link.WebSocket() && now-b.idle >= d {
		b.idle, b.control = now, frame.Ping
		b.wakeLocked()
	}
	away := b.link == nil
	b.mu.Unlock()
	if silent {
		b.Detach(link, errSilent)
	}
	if away {
		b.group.retire(b)
	}
}

// askLocked has link removed if it has been closed. The question may block, so it is asked
// on a goroutine of its own, one at a time.
func (b *Box) askLocked(link *transport.Link, reason error) {
	if b.asking {
		return
	}
	b.asking = true
	b.group.spawn(func() {
		if link.Closed() {
			b.Detach(link, reason)
		}
		b.mu.Lock()
		b.asking = false
		b.mu.Unlock()
		b.group.retire(b)
	})
}
