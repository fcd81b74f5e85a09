package delivery

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// patience is how long a full outbox waits for a peer that takes nothing.
const patience = time.Second

// A Recipient is one id: the log of what waits for it, and the cursor of its connection,
// while it has one. The log belongs to the id, so it outlives each of its connections.
type Recipient struct {
	ID    string
	Index int // the registry's, under its lock
	group *Group

	mu          sync.Mutex
	cursor      cursor
	log         outbox.Log
	mail        mail
	forward     forwarding
	active      bool          // written to since the last beat
	dead        bool          // out of the registry; look the id up again
	remoteBytes int           // its share of group.remoteBytes
	room        chan struct{} // closed when something leaves; nil while nobody waits
	owners      owners.List   // who added this connection, and those before
	since       time.Duration // when the last connection was attached
}

// NewRecipient returns a Recipient for id, with no connection. The owners are those that
// its last connections had.
func NewRecipient(g *Group, id string, o owners.List) *Recipient {
	id = strings.Clone(id) // it may be a part of a long URL, which would stay with it
	r := &Recipient{ID: id, group: g, owners: o, log: outbox.NewLog(g.format)}
	r.cursor.recipient = r
	return r
}

// Push accepts m. It waits for room while the peer reads, until ctx or the group ends. It
// reports false, and does nothing, if r is dead.
func (r *Recipient) Push(ctx context.Context, m *outbox.Message) (bool, error) {
	for {
		r.mu.Lock()
		if r.dead {
			r.mu.Unlock()
			return false, nil
		}
		wait, err := r.tryLocked(m)
		if wait <= 0 {
			away, empty := r.cursor.conn == nil, r.log.Empty()
			inline := r.cursor.inlineLocked()
			r.mu.Unlock()
			switch {
			case inline != nil:
				inline.once()
			case away && empty:
				r.group.retire(r)
			case away:
				r.group.mailbox.Trim()
			}
			return true, err
		}
		if r.room == nil {
			r.room = make(chan struct{})
		}
		room := r.room
		r.mu.Unlock()
		select {
		case <-room:
		case <-time.After(wait):
		case <-ctx.Done():
			return true, ctx.Err()
		case <-r.group.done:
			return true, outcome.ErrClosed
		}
	}
}

// tryLocked accepts m, unless it is refused, or has to wait for room first.
func (r *Recipient) tryLocked(m *outbox.Message) (wait time.Duration, err error) {
	c := &r.cursor
	switch {
	case r.group.closed.Load():
		return 0, outcome.ErrClosed
	case m.Here && m.ID != "" && (c.conn == nil || c.flight != nil && c.flight.conn == nil):
		return 0, outcome.ErrMoved
	case len(m.Data) > r.group.Outbox: // in the process that it comes from it was not
		return 0, outcome.ErrTooLarge
	}
	bounded := r.group.Begun() // asked once: Start may come in between, and m has not waited for room then
	if wait = r.waitLocked(m, bounded); wait <= 0 {
		r.acceptLocked(m, bounded)
	}
	return wait, nil
}

// fitsLocked reports whether n bytes more may wait. The mailbox has bounds of its own.
func (r *Recipient) fitsLocked(n int) bool {
	return r.group.fits(r.log.Bytes-r.mail.bytes+n, r.log.Messages-r.mail.messages())
}

// waitLocked returns how long m may wait for room: not at all if there is some, or if the
// peer has taken nothing for a while. Before Start WithBuffer bounds what is added here, but
// not what comes from elsewhere for one id.
func (r *Recipient) waitLocked(m *outbox.Message, bounded bool) time.Duration {
	if !bounded && (!m.Here || m.ID == "") {
		return 0
	}
	if r.congestedLocked(m) {
		return time.Millisecond
	}
	if r.cursor.conn == nil || r.fitsLocked(len(m.Data)) {
		return 0
	}
	return r.cursor.patienceLocked()
}

// acceptLocked takes m in, whatever becomes of it. The caller wakes the cursor then.
func (r *Recipient) acceptLocked(m *outbox.Message, bounded bool) {
	g, n, away := r.group, len(m.Data), r.cursor.conn == nil
	if away && m.ID == "" {
		return // a broadcast is for those who are here
	}
	g.Accepted.Add(1, n)
	fits := away || !bounded || r.fitsLocked(n) || r.dropOldestLocked(n)
	switch {
	case r.isRemoteLocked():
		r.appendLocked(m)
		r.addRemoteBytes(n + remoteCost)
		r.forward = max(r.forward, forwardFirst)
	case r.undecidedLocked():
		r.appendLocked(m)
	case away && g.mailboxOn() && g.mailbox.Takes(n+r.idCost()):
		r.keptLocked(m)
		r.appendLocked(m)
		r.mailLocked(1, n)
	case away:
		g.refuse(r.ID, m, outcome.ErrNotConnected)
	case fits || g.Overflow == Disconnect:
		r.appendLocked(m)
		if !fits {
			r.removeLocked(outcome.ErrSlow, transport.Status{})
		}
	default:
		g.refuse(r.ID, m, outcome.ErrSlow)
	}
}

func (r *Recipient) appendLocked(m *outbox.Message) {
	if timed := r.log.Append(m, r.cursor.conn == nil); timed != nil {
		timed.Born = r.group.line.Now()
	}
}

// dropOldestLocked has the oldest messages give way to n bytes more, if they are to and
// that makes room, and reports whether it has.
func (r *Recipient) dropOldestLocked(n int) bool {
	if r.group.Overflow != DropOldest {
		return false
	}
	if messages, bytes := r.log.Fixed(); !r.group.fits(bytes+n, messages) {
		return false
	}
	for r.log.Waits() && !r.fitsLocked(n) {
		r.failLocked(r.log.Drop(), outcome.ErrSlow)
	}
	return r.fitsLocked(n)
}

// undecidedLocked reports whether what comes for r, which is away, stays until its turn
// comes: before Start, and behind what was added then.
func (r *Recipient) undecidedLocked() bool {
	if r.cursor.conn != nil || r.mail.messages() > 0 {
		return false
	}
	return !r.group.Begun() || r.log.Waits() && r.cursor.flight == nil
}

// settledLocked makes room for messages that have left the log and have an outcome now.
func (r *Recipient) settledLocked(messages, receipts, payload int) {
	r.log.Settled(messages, receipts, payload)
	r.addRemoteBytes(-payload - messages*remoteCost)
	if r.room != nil {
		close(r.room)
		r.room = nil
	}
}

// failLocked reports a chunk that has left the log as undelivered.
func (r *Recipient) failLocked(c *outbox.Chunk, err error) {
	r.settledLocked(c.Messages, c.Receipts(), c.Payload)
	r.group.report.Fail(r.ID, c, err)
}

// doneLocked counts a message that has left the log.
func (r *Recipient) doneLocked(m outbox.Message, as *outcome.Tally) {
	as.Add(1, len(m.Data))
	receipts := 0
	if m.Receipt != nil {
		receipts = 1
	}
	r.settledLocked(1, receipts, len(m.Data))
	if tell := m.Receipt.Decide(nil); tell != nil {
		tell()
	}
}

// tellGivenUpLocked reports what was given up behind a write that is settled now.
func (r *Recipient) tellGivenUpLocked() {
	for c := r.log.NextGivenUp(); c != nil; c = r.log.NextGivenUp() {
		r.failLocked(c, c.Reason)
	}
}
