package outbox

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Stats is what package gcpool documents under the same name.
type Stats struct {
	Name        string
	Connections int

	Waiting, WaitingBytes, OutboxLimit, MailboxLimit int

	Accepted, Written, Forwarded, Undelivered, WrittenBytes uint64

	NotConnected, Slow, Deleted, Expired, Closed, Other uint64

	Joins, Leaves, Takeovers uint64

	Stalled    int
	Latency    [16]uint64
	LatencySum time.Duration
}

// sampled is how many chunks of an id there are for one whose way is timed: the
// clock costs as much as a lock.
const sampled = 64

// fastest is the first bound of Stats.Latency; each is twice the one before.
const fastest = 100 * time.Microsecond

// counters are what a Group counts. What producers change, what writers change
// and what both do stand apart: a cache line that two cores write costs more
// than the rest of Add.
type counters struct {
	_           [64]byte
	accepted    tally
	_           [64]byte
	written     tally
	forwarded   tally
	failed      [other + 1]tally // by the number of its reason
	tasks       atomic.Int64     // goroutines that write, report or close, and the monitor
	joins       atomic.Uint64
	leaves      atomic.Uint64
	takeovers   atomic.Uint64
	remoteBytes atomic.Int64 // bytes of messages on their way elsewhere, see addRemoteBytes
	stalled     atomic.Int64 // writers that have been replaced
	latency     [16]atomic.Uint64
	took        atomic.Int64 // the sum of what latency counts, in ns
	_           [64]byte
}

// tally counts messages and their payload.
type tally struct{ messages, bytes atomic.Uint64 }

func (t *tally) add(messages, bytes int) {
	t.bytes.Add(uint64(bytes))
	t.messages.Add(uint64(messages))
}

// fail counts messages that were not delivered, for the reason err.
func (c *counters) fail(messages, bytes int, err error) { c.failed[class(err)].add(messages, bytes) }

// reasons are counted apart, each under its index, and those that are none of the
// pool's as other.
var reasons = [...]error{ErrSlow, ErrDeleted, ErrExpired, ErrClosed, ErrNotConnected}

const other = len(reasons)

// class returns the number of the reason that err wraps. An error that may be the
// application's is asked for it under no lock, see ask.
func class(err error) (i int) {
	if a, ok := err.(*answer); ok {
		return a.class
	}
	for i < len(reasons) && !errors.Is(err, reasons[i]) {
		i++
	}
	return i
}

// An answer is an error of the application's that has been asked for its class.
type answer struct {
	error
	class int
}

func (a *answer) Unwrap() error { return a.error }

// ask returns err as one that may be counted under a lock; the pool's own is. One
// that panics when it is asked is of no class.
func ask(err error) (asked error) {
	switch err {
	case nil, ErrSlow, ErrDeleted, ErrExpired, ErrClosed, ErrNotConnected, ErrMoved:
		return err
	}
	defer func() {
		if recover() != nil {
			asked = &answer{err, other}
		}
	}()
	return &answer{err, class(err)}
}

// Failure is the outcome of a message whose connection failed with err, if it did.
func Failure(err error) error {
	if err == nil {
		return nil
	}
	return ask(fmt.Errorf("%w: %w", ErrNotConnected, err))
}

// observe notes how long a message took from Add to its end.
func (c *counters) observe(d time.Duration) {
	i := 0
	for bound := fastest; d > bound && i < len(c.latency)-1; bound *= 2 {
		i++
	}
	c.took.Add(int64(d))
	c.latency[i].Add(1)
}

// Connected returns how many boxes have a connection.
func (c *counters) Connected() int {
	joins, leaves := c.moves()
	return int(joins - leaves)
}

// moves returns the joins and the leaves at one moment.
func (c *counters) moves() (joins, leaves uint64) {
	for {
		leaves = c.leaves.Load()
		if joins = c.joins.Load(); c.leaves.Load() == leaves {
			return joins, leaves
		}
	}
}

// Stats returns the counters. Outcomes are read before what was accepted, so
// that a message in between counts as waiting.
func (g *Group) Stats() Stats {
	c := &g.counters
	s := Stats{
		Name:         g.Pool,
		OutboxLimit:  g.Outbox,
		MailboxLimit: g.MailboxBytes,
		Written:      c.written.messages.Load(),
		WrittenBytes: c.written.bytes.Load(),
		Forwarded:    c.forwarded.messages.Load(),
		Takeovers:    c.takeovers.Load(),
		Stalled:      int(c.stalled.Load()),
	}
	done := s.WrittenBytes + c.forwarded.bytes.Load()
	for i, n := range []*uint64{&s.Slow, &s.Deleted, &s.Expired, &s.Closed, &s.NotConnected, &s.Other} {
		*n = c.failed[i].messages.Load()
		s.Undelivered += *n
		done += c.failed[i].bytes.Load()
	}
	for i := range c.latency {
		s.Latency[i] = c.latency[i].Load()
	}
	s.LatencySum = time.Duration(c.took.Load())
	s.Joins, s.Leaves = c.moves()
	s.Connections = int(s.Joins - s.Leaves)
	s.Accepted = c.accepted.messages.Load()
	s.Waiting = int(s.Accepted - s.Written - s.Forwarded - s.Undelivered)
	s.WaitingBytes = int(c.accepted.bytes.Load() - done)
	return s
}
