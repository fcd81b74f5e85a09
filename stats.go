package gcpool

import (
	"maps"
	"slices"
	"time"
)

// Stats are the figures of one pool, counted since Register. Accepted always equals Written +
// Forwarded + Undelivered + Waiting. Other figures may be a moment newer.
type Stats struct {
	Name        string
	Connections int // ids that are connected, Joins - Leaves

	// Waiting is how many messages were accepted and have no outcome yet, WaitingBytes their
	// payload. OutboxLimit is WithOutbox.
	Waiting, WaitingBytes, OutboxLimit int

	// MailboxBytes is how many bytes the mailbox holds, and MailboxLimit how many it may hold: the
	// bytes of WithMailbox. Both are 0 without a mailbox.
	MailboxBytes, MailboxLimit int

	// FullestOutbox is how many bytes of payload wait in the fullest outbox, which is full at
	// OutboxLimit. What is in the mailbox does not count. The figure is up to about a second old,
	// and up to two with 250,000 ids.
	FullestOutbox int

	// Written counts messages of which the system took every byte; Forwarded those that
	// another process has written; Undelivered those that were reported, to a hook or to the
	// caller of Deliver or AddFunc. WrittenBytes is payload, without newlines and headers.
	Accepted, Written, Forwarded, Undelivered, WrittenBytes uint64

	// Undelivered by reason, which is the error that was reported. Other counts errors of a
	// [Cluster].
	NotConnected, Slow, Deleted, Expired, Closed, Other uint64

	Joins, Leaves, Takeovers uint64 // a takeover is neither a join nor a leave

	// Stalled is how many connections have peers that hold up a write for 5 ms or more. A call of
	// Cluster.Forward that takes so long counts, too.
	Stalled int

	// Latency counts messages by the time from Add to written. Latency[i] counts those that took
	// 100 µs << i or less, and the last element the slower ones. It samples one write in 64.
	Latency    [16]uint64
	LatencySum time.Duration // of the messages in Latency
}

// Stats returns a snapshot of every pool, sorted by name. Its cost does not depend on the number
// of ids. It does not block.
func (p *Pool) Stats() []Stats {
	if p == nil {
		return nil
	}
	mu := p.mu.RLock()
	defer mu.RUnlock()
	all := make([]Stats, 0, len(p.pools))
	for _, name := range slices.Sorted(maps.Keys(p.pools)) {
		all = append(all, Stats(p.pools[name].conns.group.Stats()))
	}
	return all
}

// Info is what a pool knows of one id: whether its messages wait for an absent user or for a slow
// one.
type Info struct {
	Since time.Time // when its connection was added; zero if id is not connected
	// Kind says how the pool writes to the connection: "WebSocket under Upgrade", "WebSocket of
	// x/net", "stream" for Go's own TCP, TLS and Unix stream connections, or "net.Conn" for any
	// other.
	Kind string

	// Waiting is how many messages for id have no outcome yet, WaitingBytes their payload. Mailbox
	// is how many of them are in the mailbox, MailboxBytes the payload of these.
	Waiting, WaitingBytes int
	Mailbox, MailboxBytes int

	Stalled time.Time // since when the peer has taken nothing of a stuck write; zero if none is stuck
}

// Info returns what the pool knows of id, and the zero Info for an id that is not connected and has
// no messages. It does not block.
func (c *ConnPool) Info(id string) Info {
	if r := c.find(id); r != nil {
		return Info(r.Info())
	}
	return Info{}
}
