package outcome

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/stripes"
)

// Stats is what package gcpool documents under the same name.
type Stats struct {
	Name        string
	Connections int

	Waiting, WaitingBytes, OutboxLimit int
	MailboxBytes, MailboxLimit         int

	FullestOutbox int

	Accepted, Written, Forwarded, Undelivered, WrittenBytes uint64

	NotConnected, Slow, Deleted, Expired, Closed, Other uint64

	Joins, Leaves, Takeovers uint64

	Stalled    int
	Latency    [16]uint64
	LatencySum time.Duration
}

// fastest is the first bound of Stats.Latency; each is twice the one before.
const fastest = 100 * time.Microsecond

// Counters are what a pool counts.
type Counters struct {
	_         [64]byte // keeps the counters that each message changes in cache lines of their own
	Accepted  stripes.Tally
	Written   stripes.Tally
	Forwarded stripes.Tally
	failed    [other + 1]stripes.Tally // by the index of the reason
	Joins     atomic.Uint64
	Leaves    atomic.Uint64
	Takeovers atomic.Uint64
	latency   [16]atomic.Uint64
	took      atomic.Int64 // the sum of what latency counts, in ns
	_         [64]byte
}

// Fail counts messages that were not delivered, for the reason err.
func (c *Counters) Fail(messages, bytes int, err error) { c.failed[class(err)].Add(messages, bytes) }

// Observe notes how long messages took, from Add to the end of their write.
func (c *Counters) Observe(d time.Duration) {
	i := min(bits.Len64(uint64((d-1)/fastest)), len(c.latency)-1)
	c.took.Add(int64(d))
	c.latency[i].Add(1)
}

// Connected returns how many ids have a connection.
func (c *Counters) Connected() int {
	joins, leaves := c.moves()
	return int(joins - leaves)
}

// moves returns the joins and the leaves at one moment.
func (c *Counters) moves() (joins, leaves uint64) {
	for {
		leaves = c.Leaves.Load()
		if joins = c.Joins.Load(); c.Leaves.Load() == leaves {
			return joins, leaves
		}
	}
}

// Read returns the counters. It reads the outcomes before it reads Accepted, so that a
// message in between counts as waiting.
func (c *Counters) Read() (s Stats) {
	var done, acceptedBytes, bytes uint64
	s.Written, s.WrittenBytes = c.Written.Read()
	s.Forwarded, done = c.Forwarded.Read()
	for i, n := range []*uint64{&s.Slow, &s.Deleted, &s.Expired, &s.Closed, &s.NotConnected, &s.Other} {
		*n, bytes = c.failed[i].Read()
		s.Undelivered += *n
		done += bytes
	}
	s.Takeovers = c.Takeovers.Load()
	for i := range c.latency {
		s.Latency[i] = c.latency[i].Load()
	}
	s.LatencySum = time.Duration(c.took.Load())
	s.Joins, s.Leaves = c.moves()
	s.Connections = int(s.Joins - s.Leaves)
	s.Accepted, acceptedBytes = c.Accepted.Read()
	s.Waiting = int(s.Accepted - s.Written - s.Forwarded - s.Undelivered)
	s.WaitingBytes = int(acceptedBytes - s.WrittenBytes - done)
	return s
}
