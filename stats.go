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

	// Waiting is how many messages were accepted and have no outcome yet; WaitingBytes is their
	// payload. OutboxLimit is the value of WithOutbox.
	Waiting, WaitingBytes, OutboxLimit int

	// MailboxBytes is how many bytes the mailbox holds, and MailboxLimit how many it may hold, as
	// set by WithMailbox. Both are 0 without a mailbox.
	MailboxBytes, MailboxLimit int

	// FullestOutbox is how many bytes of payload wait in the fullest outbox; an outbox is full at
	// OutboxLimit. Messages in the mailbox do not count. The figure is up to about a second old, or
	// two with 250,000 ids.
	FullestOutbox int

	// Accepted counts the messages that the pool has accepted. Written counts messages of which the
	// system took every byte, Forwarded messages that another process has written, and Undelivered
	// messages that were reported to a hook or to the caller of Deliver or AddFunc. WrittenBytes is
	// payload, without newlines and headers.
	Accepted, Written, Forwarded, Undelivered, WrittenBytes uint64

	// These count undelivered messages by reason, which is the error that was reported. Other
	// counts errors of a [Cluster].
	NotConnected, Slow, Deleted, Expired, Closed, Other uint64

	Joins, Leaves, Takeovers uint64 // a takeover is neither a join nor a leave

	// Stalled is how many connections have a write that was blocked for 5 ms or more. A call
	// of Cluster.Forward that takes that long counts, too.
	Stalled int

	// Latency is a histogram of the time from Add to written, which samples one write in 64.
	// Latency[i] counts the messages that took at most 100 µs << i, but longer than the bound of
	// the element before; the last element counts all slower ones.
	Latency    [16]uint64
	LatencySum time.Duration // of the messages in Latency
}

// Stats returns a snapshot of every pool, sorted by name. Its cost does not depend on the number of
// ids. It does not block.
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

// Info is what a pool knows of one id. It shows, for example, whether messages wait because the
// user is absent or because the user is slow.
type Info struct {
	Since time.Time // when its connection was added; zero if id is not connected
	// Kind says how the pool writes to the connection: "WebSocket under Upgrade", "WebSocket of
	// x/net", "stream" for Go's own TCP, TLS and Unix stream connections, or "net.Conn" for any
	// other.
	Kind string

	// Waiting is how many messages for id have no outcome yet; WaitingBytes is their payload.
	// Mailbox is how many of these messages are in the mailbox; MailboxBytes is the payload in the
	// mailbox.
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
