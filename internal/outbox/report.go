package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

// A reporter tells the application what happened, in order, one call at a
// time, on a goroutine that lives while there is something to tell. But for
// run, its methods may be called under a box's lock.
type reporter struct {
	group   *Group
	verbose atomic.Bool  // joins and leaves are logged
	backlog atomic.Int64 // how many calls events are, for wait

	mu      sync.Mutex // a leaf
	events  []event
	running bool
	room    chan struct{} // closed when backlog shrinks; nil while nobody waits
}

// An event is that messages were not delivered, or that id came or went.
type event struct {
	id        string
	chunk     *chunk // the messages, which would take more one by one; nil if id came or went
	data      []byte // the one whose turn it is
	err       error  // why it was not delivered, or why id went
	connected bool
}

// undelivered reports the messages of c, which is the reporter's from now on. What
// Deliver waits for is told to its caller only.
func (r *reporter) undelivered(id string, c *chunk, err error) {
	told := r.group.Undelivered != nil
	for c.receipts != nil && c.messages > 0 {
		m, err := c.next(r.group.Newline), err
		if c.cut && m.Here && slices.Contains([]int{class(ErrNotConnected), class(ErrClosed)}, class(err)) {
			err = errCut // where those are taken for not sent
		}
		if tell := m.Receipt.decide(err); tell != nil {
			r.group.fail(1, len(m.Data), err) // before Deliver returns
			tell()
		} else if m.Receipt = nil; told {
			r.add(event{id: id, chunk: single(&m, r.group.Newline), err: err}, 1)
		} else {
			r.group.fail(1, len(m.Data), err)
		}
	}
	if told && c.messages > 0 {
		c.fit()
		r.add(event{id: id, chunk: c, err: err}, c.messages)
		return
	}
	r.group.fail(c.messages, c.payload, err)
	c.free()
}

// presence reports that id came, or went for the reason err.
func (r *reporter) presence(id string, connected bool, err error) {
	if r.group.Presence != nil || r.verbose.Load() || class(err) == class(ErrSlow) {
		r.add(event{id: id, err: err, connected: connected}, 1)
	}
}

// add has e told. What is only logged is left out while the logger is too slow.
func (r *reporter) add(e event, calls int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.chunk == nil && r.group.Presence == nil && r.backlog.Load() >= int64(r.group.Buffer) {
		return
	}
	r.events = append(r.events, e)
	r.backlog.Add(int64(calls))
	if !r.running {
		r.running = true
		r.group.spawn(r.run)
	}
}

// wait returns nil if at most Buffer messages are still to be reported, else a
// channel that is closed when there are fewer.
func (r *reporter) wait() <-chan struct{} {
	limit := int64(r.group.Buffer)
	if r.backlog.Load() <= limit {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.room == nil && r.backlog.Load() > limit {
		r.room = make(chan struct{})
	}
	return r.room
}

// run reports until nothing is left. A hook may end its goroutine, as
// t.FailNow does; then another goes on.
func (r *reporter) run() {
	ended := false
	defer func() {
		if !ended {
			r.group.spawn(r.run)
		}
	}()
	for e, ok := r.next(); ok; e, ok = r.next() {
		r.tell(e)
	}
	ended = true
}

func (r *reporter) next() (e event, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 {
		r.events, r.running = nil, false
		return e, false
	}
	e = r.events[0]
	if c := e.chunk; c != nil {
		m := c.next(r.group.Newline)
		if e.data = slices.Clip(m.Data); len(m.Data) <= len(c.buf)/2 { // else the hook may have it all
			e.data = append(make([]byte, 0, len(m.Data)), m.Data...)
		}
	}
	if e.chunk == nil || e.chunk.messages == 0 {
		r.events[0] = event{}
		r.events = r.events[1:]
	}
	r.backlog.Add(-1)
	if r.room != nil {
		close(r.room)
		r.room = nil
	}
	return e, true
}

// tell calls the hook that e is for. A message is reported from the moment
// that its call begins.
func (r *reporter) tell(e event) {
	defer func() {
		if v := recover(); v != nil {
			defer func() { _ = recover() }() // the logger may be what panics
			r.log(e.id).Error("gcpool: hook panicked", "panic", fmt.Sprint(v))
		}
	}()
	if e.chunk != nil {
		r.group.fail(1, len(e.data), e.err)
		r.group.Undelivered(e.id, e.data, e.err)
		return
	}
	level, text := slog.LevelDebug, "gcpool: joined"
	if class(e.err) == class(ErrSlow) {
		level, text = slog.LevelWarn, "gcpool: slow peer disconnected"
	} else if !e.connected {
		text = "gcpool: left"
	}
	if r.group.Presence != nil {
		defer r.group.Presence(e.id, e.connected)
	}
	r.log(e.id).Log(context.Background(), level, text, "reason", e.err)
}

// log returns the logger, with the pool and the id, quoted and shortened.
func (r *reporter) log(id string) *slog.Logger {
	const most = 128
	if len(id) > most {
		id = id[:most] + "..."
	}
	return r.group.logger().With("pool", r.group.Pool, "id", strconv.Quote(id))
}
