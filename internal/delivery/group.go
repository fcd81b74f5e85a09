// Package delivery brings the messages of one pool to its connections. A Recipient is one
// id: the log of what waits for it, and the cursor of its connection. A Group is all of them,
// with what they share: the line in which cursors stand, the mailbox, the hooks and the
// counters.
package delivery

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/mailbox"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/report"
	"github.com/nulijiabei/gcpool/internal/schedule"
	"github.com/nulijiabei/gcpool/internal/tasks"
)

// Overflow says what gives way when an outbox is full.
type Overflow int

const (
	Disconnect Overflow = iota
	DropOldest
	DropNewest
)

// Config is what the options of a pool say.
type Config struct {
	report.Hooks
	Outbox       int
	Overflow     Overflow
	WriteTimeout time.Duration
	Heartbeat    time.Duration
	MailboxTTL   time.Duration // 0 is off
	MailboxBytes int
	Newline      bool
	Binary       bool
}

// A Group is the recipients of one pool and what they share.
type Group struct {
	// Set at construction.
	Config
	format outbox.Format
	line   *schedule.Line
	report *report.Reporter
	all    func() []*Recipient // those that have not been retired
	retire func(*Recipient)    // drops a recipient if its Retire says so; not under its lock
	done   chan struct{}       // closed with closed, wakes those who wait for room
	over   context.Context
	Cut    func() // ends over: what has not been delivered by now is not to be

	outcome.Counters
	tasks       tasks.Tasks
	mailbox     mailbox.Mailbox
	remote      atomic.Pointer[Remote] // nil if there is none
	remoteBytes atomic.Int64           // of messages on their way elsewhere, see addRemoteBytes
	closed      atomic.Bool
	last        atomic.Int64 // what moment has returned
	beating     atomic.Bool
	beat        atomic.Pointer[time.Timer]
}

// NewGroup returns a Group of the recipients that all returns. It calls retire for one that
// may have nothing left to keep it.
func NewGroup(c Config, all func() []*Recipient, retire func(*Recipient)) *Group {
	g := &Group{Config: c, all: all, retire: retire, done: make(chan struct{})}
	g.format = outbox.Format{Opcode: frame.Text, Newline: c.Newline}
	if c.Binary {
		g.format.Opcode = frame.Binary
	}
	g.line = schedule.NewLine(&g.tasks)
	g.report = report.New(c.Hooks, g.format, &g.Counters, &g.tasks)
	g.mailbox.TTL, g.mailbox.Bytes = c.MailboxTTL, c.MailboxBytes
	g.over, g.Cut = context.WithCancel(context.Background())
	return g
}

// Done is closed when the group takes no more messages.
func (g *Group) Done() <-chan struct{} { return g.done }

// AskLogger sees whether joins and leaves are to be logged. It must not be called under a
// lock.
func (g *Group) AskLogger() { g.report.AskLogger() }

// Room waits until no more than Buffer reports wait for the hooks, or returns ErrClosed
// once the group is closed.
func (g *Group) Room(ctx context.Context) error {
	if g.closed.Load() {
		return outcome.ErrClosed
	}
	return g.report.Room(ctx, g.done)
}

// Receipt returns a receipt that calls fn with the outcome, in order with the hooks.
func (g *Group) Receipt(id string, fn func(err error)) *outbox.Receipt {
	return g.report.Receipt(id, fn)
}

// Begin has drain called by writers that come for what waits, and reports whether it is the
// first call. See schedule.Line.Open.
func (g *Group) Begin(drain func(w *schedule.Writer)) bool { return g.line.Open(drain) }

// Begun reports whether Begin has been called.
func (g *Group) Begun() bool { return g.line.Opened() }

// Len returns how many connections stand in line.
func (g *Group) Len() int { return g.line.Len() }

// Stats returns the counters and the limits.
func (g *Group) Stats() outcome.Stats {
	s := g.Counters.Read()
	s.Name, s.OutboxLimit, s.MailboxLimit, s.Stalled = g.Pool, g.Outbox, g.MailboxBytes, g.line.Stalled()
	return s
}

// moment returns a time on the line's clock that no other call returns.
func (g *Group) moment() time.Duration {
	for {
		last := g.last.Load()
		now := max(last+1, int64(g.line.Now()))
		if g.last.CompareAndSwap(last, now) {
			return time.Duration(now)
		}
	}
}

// mailboxOn reports whether messages for ids that are away wait for them.
func (g *Group) mailboxOn() bool { return g.MailboxTTL > 0 && !g.closed.Load() }

// fits reports whether so many bytes may wait for one id, in so many messages. The bound on
// messages keeps the frames of tiny ones from taking more than their payload may.
func (g *Group) fits(bytes, messages int) bool {
	return bytes <= g.Outbox && messages <= g.Outbox/4+1024
}

// Refuse accepts and reports a message for an id that has no recipient, or returns
// ErrClosed. It returns false, and does nothing, if the message may wait.
func (g *Group) Refuse(m *outbox.Message) (bool, error) {
	g.tasks.Begin() // before the look at closed, so that Shutdown waits or is seen
	defer g.tasks.End()
	if g.closed.Load() {
		return true, outcome.ErrClosed
	}
	if g.mailboxOn() || g.remote.Load() != nil || !g.Begun() {
		return false, nil
	}
	g.Accepted.Add(1, len(m.Data))
	g.refuse(m.ID, m, outcome.ErrNotConnected)
	return true, nil
}

// refuse reports a message for id that was accepted and has no place to wait.
func (g *Group) refuse(id string, m *outbox.Message, err error) {
	if g.Undelivered == nil && m.Receipt == nil {
		g.Fail(1, len(m.Data), err)
		return
	}
	g.report.Fail(id, outbox.Single(m, g.format), err)
}
