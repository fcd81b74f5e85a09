package outbox

import (
	"slices"
	"time"

	"github.com/nulijiabei/gcpool/internal/wire"
)

const (
	// linger is how long a handler may take to close its connection itself.
	linger = time.Second
	// remembered is how long a handler is remembered that did not; its end
	// can be seen no more.
	remembered = time.Minute
)

// A debt is one Del: that of a handler whose connection is the id's no more,
// and which is about to call Del when it ends. That Del must not remove the
// connection that came after.
type debt struct {
	link   *wire.Link
	made   time.Time
	kicked bool      // a Del removed its connection, and none was spared since
	until  time.Time // when it is forgotten; zero while its handler runs and can be seen
}

// prune forgets the handlers that have returned, each with the Del that it was
// spared. One whose connection a Del had removed, and after which none was spared,
// has ended with that. Another that has closed its connection itself looks as if it
// had returned, so it is given a moment more.
func (b *Box) prune() {
	b.mu.Lock()
	owed := slices.Clone(b.owed)
	b.mu.Unlock()
	if len(owed) == 0 {
		return
	}
	returned := make(map[*wire.Link]bool, len(owed))
	for _, d := range owed {
		returned[d.link] = d.until.IsZero() && d.link.Returned()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.owed[:0]
	for _, d := range b.owed {
		if d.until.IsZero() && returned[d.link] {
			d.until = time.Now()
			if d.link.Lingers() && !d.kicked {
				d.until = d.until.Add(linger)
			}
		}
		if d.until.IsZero() || time.Now().Before(d.until) {
			left = append(left, d)
		} else if !d.kicked {
			b.spared--
		}
	}
	clear(b.owed[len(left):])
	b.owed = left
	b.spared = min(max(0, b.spared), len(b.owed))
}

// Del removes and closes b's connection and reports true, unless a handler of
// an earlier connection is owed a Del: then this is taken for that one.
func (b *Box) Del() bool {
	b.prune()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.owed) == b.spared {
		return b.detachLocked(nil, ErrDeleted)
	}
	b.spared++
	for i := range b.owed {
		b.owed[i].kicked = false
	}
	return false
}

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
// was written for a heartbeat, or from which nothing came if that can be seen;
// however much is written, a peer's silence ends only with its pong. It removes
// a connection whose handler has returned without Del, one whose peer has been silent for
// two heartbeats, closes one whose handler does not return, and retires b if nothing keeps it.
// A peer that could not be heard is not silent: what was lost of the time does not count.
func (b *Box) Beat(now, lost time.Duration) {
	link := b.Link()
	heard, tells, ends := true, false, false
	if link != nil {
		heard, tells = link.Heard()
		ends = link.Ends() // which asks a context of the application's
	}
	b.mu.Lock()
	if len(b.owed) > 0 || ends {
		b.askLocked(link, (*wire.Link).Returned, errLeft)
	}
	b.heard = min(b.heard+lost, now)
	if heard || b.flight != nil && b.flight.link == nil { // nothing can be pinged behind that
		b.heard = now
	}
	if alive := b.active || b.busy; !b.told && (tells && heard || !tells && alive) {
		b.idle = now
	}
	if !b.active && b.spare != nil {
		b.spare.free()
		b.spare = nil
	}
	b.active = false
	d := b.group.Heartbeat
	silent := d > 0 && link == b.link && (now-b.heard)/2 >= d
	if d > 0 && !b.told && b.link != nil && b.link.WebSocket() && now-b.idle >= d {
		b.idle, b.control = now, wire.Ping
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

// askLocked has the handlers forgotten that have returned, the connections of others
// closed, and link removed if it has gone. The questions may block, so they are asked
// on a goroutine of their own, one at a time.
func (b *Box) askLocked(link *wire.Link, gone func(*wire.Link) bool, reason error) {
	if b.asking {
		return
	}
	b.asking = true
	b.group.spawn(func() {
		b.prune()
		if link != nil && gone(link) {
			b.Detach(link, reason)
		}
		b.mu.Lock()
		b.asking = false
		b.forceLocked(linger)
		b.mu.Unlock()
		b.group.retire(b)
	})
}

// forceLocked closes the connections that were to be closed d ago and whose
// handlers have not returned.
func (b *Box) forceLocked(d time.Duration) {
	for _, o := range b.owed {
		if o.until.IsZero() && o.link.Lingers() && time.Since(o.made) >= d {
			b.killLocked(o.link)
		}
	}
}

// killLocked closes link at once. If it lingers, the end of its handler cannot be
// seen then.
func (b *Box) killLocked(link *wire.Link) {
	for i := range b.owed {
		if o := &b.owed[i]; o.link == link && o.until.IsZero() && link.Lingers() {
			o.until = time.Now().Add(remembered)
		}
	}
	b.group.spawn(link.Kill)
}
