package delivery

import (
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// Beat has every recipient look after its connection from now on, about once a second and
// less often the more there are: one timer for all, that runs only while there are some.
func (g *Group) Beat() {
	if g.beating.Load() || !g.beating.CompareAndSwap(false, true) {
		return
	}
	g.tasks.Begin()
	defer g.tasks.End()
	if g.closed.Load() { // after Begin, so that Shutdown waits or is seen
		return
	}
	pause := time.Second
	if g.Heartbeat > 0 {
		pause = min(pause, g.Heartbeat/4)
	}
	pause += pause * time.Duration(g.Connected()) / 250_000
	due := g.line.Now() + pause
	g.beat.Store(g.tasks.After(pause, func() {
		now := g.line.Now()
		lost := max(0, now-due-pause) // the process was stopped, or its machine slept
		all := g.all()
		for _, r := range all {
			r.Beat(now, lost)
		}
		g.beating.Store(false)
		if len(all) > 0 || len(g.all()) > 0 { // one may have come too early
			g.Beat()
		}
	}))
}

// Beat is called about once a second. It has a WebSocket pinged to which nothing was written
// for a heartbeat, or from which nothing came if that can be seen. It removes a connection
// whose handler has returned without Del, and one whose peer has been silent for two
// heartbeats, and retires r if nothing keeps it.
//
// A peer is silent that neither sends nor takes anything. What it takes counts while a
// write is stalled, or while the ping may still be behind what the system has for it;
// once the ping has arrived, only an answer ends the silence. Time in which the process was
// stopped, or its machine slept, does not count.
func (r *Recipient) Beat(now, lost time.Duration) {
	d := r.group.Heartbeat
	r.mu.Lock()
	conn, alive := r.cursor.conn, r.active || r.cursor.turn != idle || !r.group.Begun()
	quiet := conn != nil && now-conn.heard >= d
	if !r.active {
		r.log.FreeSpare()
	}
	r.active = false
	r.mu.Unlock()
	if conn == nil {
		r.group.retire(r)
		return
	}
	heard, tells := conn.Heard()
	heard = heard || d > 0 && quiet && conn.Taking()
	left := conn.Left() // which asks a context of the application's
	r.mu.Lock()
	defer r.mu.Unlock()
	if left {
		r.cursor.ask(conn, outcome.ErrLeft)
	}
	conn.heard = min(conn.heard+lost, now)
	waits, away := !r.group.Begun(), r.cursor.flight != nil && r.cursor.flight.conn == nil
	if heard || waits || away { // nothing can be pinged behind that
		conn.heard = now
	}
	if conn.life == open && (tells && (heard || waits) || !tells && alive) {
		conn.written = now
	}
	if d == 0 || r.cursor.conn != conn {
		return
	}
	if (now-conn.heard)/2 >= d {
		r.removeLocked(outcome.ErrSilent, transport.StatusGoingAway)
	} else if conn.life == open && conn.WebSocket() && now-conn.written >= d {
		r.cursor.say(frame.Ping, now)
	}
}

// ask has conn removed if it has been closed. The question may block, so it is asked on a
// goroutine of its own, one at a time.
func (c *cursor) ask(conn *Connection, reason error) {
	if conn.asking {
		return
	}
	conn.asking = true
	r := c.recipient
	r.group.tasks.Go(func() {
		if conn.Closed() {
			r.Detach(conn, reason)
		}
		r.mu.Lock()
		conn.asking = false
		r.mu.Unlock()
		r.group.retire(r)
	})
}
