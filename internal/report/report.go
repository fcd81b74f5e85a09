// Package report tells the application what became of messages and who came or went.
package report

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/signal"
	"github.com/nulijiabei/gcpool/internal/tasks"
)

// Hooks are the hooks and the logger of a pool, as the application has set them.
type Hooks struct {
	Pool        string
	Buffer      int // how many calls may wait before Room waits
	Undelivered func(id string, data []byte, err error)
	Presence    func(pool, id string, connected bool)
	Logger      *slog.Logger
}

// A Reporter tells the application what happened, in order, one call at a time, on a goroutine
// that lives while there is something to tell. Except for AskLogger and Room, its exported
// methods neither block nor call the application, so they may be called under a lock.
type Reporter struct {
	Hooks
	counters *outcome.Counters
	tasks    *tasks.Tasks
	verbose  atomic.Bool   // joins and leaves are logged
	backlog  atomic.Int64  // how many calls wait in events, for Room
	room     signal.Signal // woken when backlog has shrunk

	mu      sync.Mutex // a leaf
	events  []event
	running bool
}

// New returns a Reporter that counts failures in c, and whose goroutine is a task of t.
func New(h Hooks, c *outcome.Counters, t *tasks.Tasks) *Reporter {
	return &Reporter{Hooks: h, counters: c, tasks: t}
}

// AskLogger asks the logger whether to log joins and leaves. It must not be called under a lock,
// because it calls the application.
func (r *Reporter) AskLogger() {
	defer func() { _ = recover() }() // the logger may panic, as in tell
	r.verbose.Store(r.logger().Enabled(context.Background(), slog.LevelDebug))
}

func (r *Reporter) logger() *slog.Logger { return cmp.Or(r.Logger, slog.Default()) }

// An event says that messages were not delivered, that a message of AddFunc has its outcome, or
// that id came or went.
type event struct {
	id      string
	chunk   *outbox.Chunk // the undelivered messages, together because this takes less memory; else nil
	data    []byte        // the message of chunk to report next
	outcome func(error)   // the function given to AddFunc, which gets err; else nil
	err     error         // why messages were not delivered, or id went; nil if written, or id came
}

// Fail reports the messages of c as undelivered; c belongs to the reporter from now on. If
// Deliver waits for the outcome of a message, only the caller of Deliver gets it.
func (r *Reporter) Fail(id string, c *outbox.Chunk, err error) {
	for c.Receipts > 0 {
		m, err := c.Next(), err
		if c.Cut && m.FromRemote && (outcome.Is(err, outcome.ErrNotConnected) || outcome.Is(err, outcome.ErrClosed)) {
			err = outcome.ErrCut // otherwise a cluster would send the message again
		}
		r.FailOne(id, m, err)
	}
	if r.Undelivered != nil && c.Messages > 0 {
		c.Fit()
		r.add(event{id: id, chunk: c, err: err}, c.Messages)
		return
	}
	r.counters.Fail(c.Messages, c.Bytes, err)
	c.Free()
}

// FailOne reports m as undelivered.
func (r *Reporter) FailOne(id string, m outbox.Message, err error) {
	var tell func()
	if m.Receipt != nil {
		tell = m.Receipt.Decide(err)
	}
	if tell == nil && r.Undelivered != nil {
		m.Receipt = nil
		r.add(event{id: id, chunk: outbox.Single(&m, outbox.Format{}), err: err}, 1)
		return
	}
	r.counters.Fail(1, len(m.Data), err)
	if tell != nil {
		tell() // after the count, because Deliver returns now
	}
}

// Receipt returns a receipt that calls fn with the outcome, in order with the hooks.
func (r *Reporter) Receipt(id string, fn func(err error)) *outbox.Receipt {
	return &outbox.Receipt{Stays: true, Decide: func(err error) (tell func()) {
		return func() { r.add(event{id: id, outcome: fn, err: err}, 1) }
	}}
}

// Moved reports that id came, if err is nil, or went for the reason err.
func (r *Reporter) Moved(id string, err error) {
	if r.Presence != nil || r.verbose.Load() || outcome.Is(err, outcome.ErrSlow) {
		r.add(event{id: id, err: err}, 1)
	}
}

// add queues e. While the logger is too slow, it drops events that would only be logged.
func (r *Reporter) add(e event, calls int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.chunk == nil && e.outcome == nil && r.Presence == nil && r.backlog.Load() >= int64(r.Buffer) {
		return
	}
	r.events = append(r.events, e)
	r.backlog.Add(int64(calls))
	if !r.running {
		r.running = true
		r.tasks.Go(r.run)
	}
}

// Room waits until at most Buffer calls wait for the hooks. It returns ErrClosed if closed
// comes first.
func (r *Reporter) Room(ctx context.Context, closed <-chan struct{}) error {
	for r.full() {
		room := r.room.Next()
		if !r.full() { // room may have come before Next
			break
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		case <-closed:
			return outcome.ErrClosed
		}
	}
	return nil
}

// full reports whether more than Buffer calls wait.
func (r *Reporter) full() bool { return r.backlog.Load() > int64(r.Buffer) }

// run reports until nothing is left. If a hook ends the goroutine, as t.FailNow does,
// another goroutine goes on.
func (r *Reporter) run() {
	ended := false
	defer func() {
		if !ended {
			r.tasks.Go(r.run)
		}
	}()
	for e, ok := r.next(); ok; e, ok = r.next() {
		r.tell(e)
	}
	ended = true
}

func (r *Reporter) next() (e event, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 {
		r.events, r.running = nil, false
		return e, false
	}
	e = r.events[0]
	if c := e.chunk; c != nil {
		m := c.Next()
		if e.data = slices.Clip(m.Data); len(m.Data) <= c.Size()/2 { // otherwise the hook may keep the whole chunk
			e.data = append(make([]byte, 0, len(m.Data)), m.Data...)
		}
	}
	if e.chunk == nil || e.chunk.Messages == 0 {
		r.events[0] = event{}
		r.events = r.events[1:]
	}
	r.backlog.Add(-1)
	r.room.Wake()
	return e, true
}

// tell calls the hook that e is for. A message counts as reported from the moment that its call
// begins.
func (r *Reporter) tell(e event) {
	defer func() {
		if v := recover(); v != nil {
			defer func() { _ = recover() }() // it may be the logger that panics
			r.log(e.id).Error("gcpool: hook panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	if e.outcome != nil {
		e.outcome(e.err)
		return
	}
	if e.chunk != nil {
		r.counters.Fail(1, len(e.data), e.err)
		r.Undelivered(e.id, e.data, e.err)
		return
	}
	level, text, why := slog.LevelDebug, "gcpool: joined", []any(nil)
	if e.err != nil {
		text, why = "gcpool: left", []any{"reason", e.err}
	}
	if outcome.Is(e.err, outcome.ErrSlow) {
		level, text = slog.LevelWarn, "gcpool: slow peer disconnected"
	}
	if r.Presence != nil {
		defer r.Presence(r.Pool, e.id, e.err == nil)
	}
	r.log(e.id).Log(context.Background(), level, text, why...)
}

// log returns the logger, with the pool and the id.
func (r *Reporter) log(id string) *slog.Logger {
	return r.logger().With("pool", r.Pool, "id", Shown(id))
}

// Shown prepares a text that a peer may have chosen for a line of a log. It shortens the text,
// and quotes it if it has a character that could pass for something else.
func Shown(text string) string {
	text = Shortened(text)
	if q := strconv.Quote(text); q != `"`+text+`"` {
		return q
	}
	return text
}

// Shortened returns the beginning of a text that a peer may have chosen.
func Shortened(text string) string {
	const most = 128
	if len(text) > most {
		return text[:most] + "..."
	}
	return text
}
