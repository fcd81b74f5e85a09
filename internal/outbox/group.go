// Package outbox delivers messages: a Box gathers what waits for one id, and a
// few writers, shared by the boxes of a Group, write it to the connections.
//
// A box with something to send stands in its group's ready queue. A writer
// takes the first chunk of the box and writes it at once; meanwhile more
// gathers. A writer that a peer holds up for longer than a tick is replaced,
// and serves only that peer from then on.
package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// The reasons why a message or a call came to nothing. Package gcpool exports
// and documents them.
var (
	ErrNotConnected = errors.New("gcpool: not connected")
	ErrSlow         = errors.New("gcpool: peer too slow")
	ErrDeleted      = errors.New("gcpool: connection deleted")
	ErrExpired      = errors.New("gcpool: expired in the mailbox")
	ErrClosed       = errors.New("gcpool: pool closed")
	ErrKept         = errors.New("gcpool: not connected, kept in the mailbox")
	ErrTooLarge     = errors.New("gcpool: message larger than the outbox")

	errDead           = errors.New("gcpool: id looked up too early")
	errReplaced error = reason("gcpool: cut off by a newer connection")
	errLeft     error = reason("gcpool: handler returned")
	errCut            = errors.New("gcpool: cut off, and its peer may have it") // for a Remote, which must not send it again
	errSilent   error = reason("gcpool: peer silent for two heartbeats")

	errUnfinished = fmt.Errorf("%w: the application has begun a message and not ended it", ErrSlow)
)

// reason is an ErrNotConnected that tells more.
type reason string

func (r reason) Error() string { return string(r) }
func (r reason) Unwrap() error { return ErrNotConnected }

const (
	// inlinePause is how long after the last write Add may write by itself. Thus one that
	// is called in a row does so at most once in inlinePause, and the rest gathers.
	inlinePause = 100 * time.Microsecond
	// tick is how long a write may take before its writer is replaced.
	tick = 5 * time.Millisecond
	// several is by how many a writer is replaced that is held up.
	several = 4
	// patience is how long a full box waits for a peer that takes nothing.
	patience = time.Second
	// takeoverGrace is how long a write under way may take once its connection has
	// been replaced or removed: long enough for one that is not stuck. What is
	// for the new connection waits for as long.
	takeoverGrace = 20 * time.Millisecond
	// closeGrace is the same for a WebSocket while no new connection and no Shutdown
	// waits: a close frame is to follow, and a peer that is busy, or far away, takes
	// longer to make room for it.
	closeGrace = time.Second
	// last is how long after its connection was closed a write may still be
	// stuck before it is given up.
	last = 200 * time.Millisecond
	// lastTries is how often last is waited for once more, unless at Shutdown: on
	// a busy machine a goroutine may take that long to run, and a message that was
	// taken by then would be reported.
	lastTries = 9
)

// Overflow says what gives way when a box is full.
type Overflow int

const (
	Disconnect Overflow = iota
	DropOldest
	DropNewest
)

// Config is what the options of a pool say.
type Config struct {
	Pool         string
	Buffer       int
	Outbox       int
	Overflow     Overflow
	WriteTimeout time.Duration
	Heartbeat    time.Duration
	MailboxTTL   time.Duration // 0 is off
	MailboxBytes int
	Newline      bool
	Binary       bool
	Undelivered  func(id string, data []byte, err error)
	Presence     func(id string, connected bool)
	Logger       *slog.Logger
}

// A Group is the boxes of one pool and what they share.
type Group struct {
	Config
	report  reporter
	mailbox mailbox
	boxes   func() []*Box          // all that have not been retired
	retire  func(*Box)             // drops a box if its Retire says so; not under its lock
	remote  atomic.Pointer[Remote] // nil if there is none
	begun   atomic.Bool            // changed under mu
	closed  atomic.Bool
	done    chan struct{} // closed with closed, wakes those who wait for room
	over    context.Context
	Cut     func() // ends over: what has not been delivered by now is not to be
	beating atomic.Bool
	beat    atomic.Pointer[time.Timer]
	start   time.Time

	counters

	mu      sync.Mutex // a leaf, locked under a box's
	ready   *Box       // boxes with something to send, first in line
	last    *Box
	length  int       // of the ready queue
	serving []*writer // those that are not held up, at most limit
	limit   int
	surge   int // how many may serve instead, while many are held up
	ticking bool
	wrote   time.Duration // the clock when a writer had nothing left to do
}

// NewGroup returns a Group of the boxes that boxes returns. It calls retire for
// one that may have nothing left to keep it.
func NewGroup(c Config, boxes func() []*Box, retire func(*Box)) *Group {
	g := &Group{Config: c, boxes: boxes, retire: retire, done: make(chan struct{}), limit: runtime.GOMAXPROCS(0)}
	g.start = time.Now().Add(-1) // its clock never reads 0, which is no time
	g.over, g.Cut = context.WithCancel(context.Background())
	g.report.group, g.mailbox.group = g, g
	return g
}

// Done is closed when the group takes no more messages.
func (g *Group) Done() <-chan struct{} { return g.done }

// Now returns the time since the group was made.
func (g *Group) Now() time.Duration { return time.Since(g.start) }

// AskLogger sees whether joins and leaves are to be logged. It must not be called
// under a lock, as no logger may.
func (g *Group) AskLogger() {
	defer func() { _ = recover() }() // as where it logs
	g.report.verbose.Store(g.logger().Enabled(context.Background(), slog.LevelDebug))
}

func (g *Group) logger() *slog.Logger { return cmp.Or(g.Logger, slog.Default()) }

// Accept counts a message that waits from now on.
func (g *Group) Accept(m *Message) { g.accepted.add(1, len(m.Data)) }

// Room waits until no more than Buffer reports wait for the hooks. It returns
// ErrClosed once the group is closed.
func (g *Group) Room(ctx context.Context) error {
	for !g.closed.Load() {
		room := g.report.wait()
		if room == nil {
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		case <-g.done:
		}
	}
	return ErrClosed
}

// Refuse accepts and reports a message for an id that has no box. It reports
// false, and does nothing, if the message may wait.
func (g *Group) Refuse(m *Message) (bool, error) {
	g.tasks.Add(1) // before the look at closed, so that Shutdown waits or is seen
	defer g.tasks.Add(-1)
	if g.closed.Load() {
		return true, ErrClosed
	}
	if g.mailbox.on() || g.remote.Load() != nil || !g.Begun() {
		return false, nil
	}
	g.Accept(m)
	g.refuse(m.ID, m, ErrNotConnected)
	return true, nil
}

// Begin has writers come for what waits, and reports whether it is the first call.
func (g *Group) Begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := !g.begun.Swap(true)
	for g.staffLocked() {
	}
	return first
}

// Begun reports whether Begin has been called.
func (g *Group) Begun() bool { return g.begun.Load() }

// Len returns how many boxes stand in the ready queue.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.length
}

// refuse reports a message for id that was accepted and has no place to wait.
func (g *Group) refuse(id string, m *Message, err error) {
	if g.Undelivered == nil && m.Receipt == nil {
		g.fail(1, len(m.Data), err)
		return
	}
	g.report.undelivered(id, single(m, g.Newline), err)
}
