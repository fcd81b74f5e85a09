package gcpool

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Stats are the figures of one pool. Accepted is always the sum of Written,
// Forwarded, Undelivered and Waiting; others may be of a moment later.
// Counters count since Register.
type Stats struct {
	Name        string
	Connections int // ids that are connected, Joins - Leaves

	// Messages accepted that have no outcome yet, and their payload in bytes; how
	// much of it may wait for one id, and in the mailbox, 0 without one.
	Waiting, WaitingBytes, OutboxLimit, MailboxLimit int

	// Written means that the system took every byte, Forwarded that this was so
	// in another process, Undelivered that the message was reported, or its
	// Deliver returned. WrittenBytes is payload, without newlines and headers.
	Accepted, Written, Forwarded, Undelivered, WrittenBytes uint64

	// Undelivered, by what the error wraps; Other is a [Cluster]'s own.
	NotConnected, Slow, Deleted, Expired, Closed, Other uint64

	Joins, Leaves, Takeovers uint64 // a takeover is neither of the others
	Stalled                  int    // connections whose peer holds up a write, for 5 ms or more

	// Latency is how many messages took up to 100 µs << i from Add to written, the
	// last: any more. It is a sample of one in 64 writes or fewer.
	Latency    [16]uint64
	LatencySum time.Duration // of the messages in Latency
}

// Stats returns a snapshot of every pool, by name, whose cost does not depend on
// the number of connections. It does not block.
func (p *Pool) Stats() []Stats {
	if p == nil {
		return nil
	}
	p.mu.RLock()
	streams := slices.Collect(maps.Values(p.pools))
	p.mu.RUnlock()
	all := make([]Stats, 0, len(streams))
	for _, s := range streams {
		all = append(all, Stats(s.conns.group.Stats()))
	}
	slices.SortFunc(all, func(a, b Stats) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
