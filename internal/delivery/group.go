// Package delivery brings the messages of one pool to its connections. A Recipient is one id:
// its backlog and its cursor. A Group is all of them.
package delivery

import (
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// A Group is the recipients of one pool and what they share.
type Group struct {
	backlog.Shared
	all     func() []*Recipient // those that have not been retired
	beating atomic.Bool
	beat    atomic.Pointer[time.Timer]
	fullest atomic.Int64 // bytes in the fullest outbox, at the last beat
}

// NewGroup returns a Group of the recipients that all returns. The Group calls retire for an id
// that may no longer be needed.
func NewGroup(c backlog.Config, all func() []*Recipient, retire func(id string)) *Group {
	g := &Group{all: all}
	g.Init(c, retire)
	return g
}

// Stats returns the counters and the limits.
func (g *Group) Stats() outcome.Stats {
	s := g.Counters.Read()
	s.Name, s.OutboxLimit, s.Stalled = g.Pool, g.Outbox, g.Line.Stalled()
	s.MailboxBytes, s.MailboxLimit = g.Mailbox.Holds(), g.MailboxBytes
	if s.Waiting > 0 {
		s.FullestOutbox = int(g.fullest.Load())
	}
	return s
}

// Beat starts the heartbeat, unless it is running. The heartbeat makes every recipient check its
// connection about once a second, and less often the more recipients there are. One timer serves
// all recipients, and runs only while there are any.
func (g *Group) Beat() {
	if !g.beating.Load() && g.beating.CompareAndSwap(false, true) {
		g.beatAfter(g.Line.Now())
	}
}

// beatAfter starts the timer of the next beat. The last beat began at the time last.
func (g *Group) beatAfter(last time.Duration) {
	g.Tasks.Begin()
	defer g.Tasks.End()
	if g.Closed.Load() { // after Begin: Shutdown waits for this call, or this call sees Closed
		return
	}
	pause := time.Second
	if g.Heartbeat > 0 {
		pause = min(pause, g.Heartbeat/4)
	}
	pause += pause * time.Duration(g.Connected()) / 250_000
	g.beat.Store(g.Tasks.After(pause, func() {
		now := g.Line.Now()
		lost := max(0, now-last-2*pause) // the process was stopped, or its machine slept
		all, fullest := g.all(), 0
		for _, r := range all {
			fullest = max(fullest, r.Beat(now, lost))
		}
		g.fullest.Store(int64(fullest))
		if len(all) > 0 {
			g.beatAfter(now)
			return
		}
		g.beating.Store(false)
		if len(g.all()) > 0 { // a recipient that came while beating was true did not start the timer
			g.Beat()
		}
	}))
}
