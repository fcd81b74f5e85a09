package backlog

import (
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// Connect notes that the id is connected: everything leaves on the connection.
func (b *Backlog) Connect() {
	b.connected = true
	b.mail.leave()
	b.forward.stop()
}

// Disconnect notes that the id has no connection any more, for reason. What waits goes
// elsewhere, to the mailbox, or is reported, behind what is under way. What a write under way
// leaves then comes here too, by a second call.
func (b *Backlog) Disconnect(reason error) {
	b.connected = false
	if b.remote() && (reason == outcome.ErrMoved || b.forward.wants() == forwardAll) {
		b.mail.leave() // it has come behind what a write has left
		b.forwarder().evict()
	} else {
		b.giveUp(reason, outcome.ErrExpired)
	}
}

// giveUp has what waits go to the mailbox, or reports it with reason, behind what is under
// way; with large what the mailbox could not hold.
func (b *Backlog) giveUp(reason, large error) {
	if b.Shared.mailboxOn() {
		b.mailed().collect(large)
		return
	}
	b.mail.leave() // if the mailbox has been closed just now
	b.log.GiveUp(reason)
	if !b.log.Pinned() {
		b.tellGivenUp()
	}
}

// Pin returns the first chunk that waits, for a write. Settle or Abandon ends that.
func (b *Backlog) Pin() *outbox.Chunk { return b.log.Pin(false) }

// Settle gives the messages of a pinned chunk their outcomes, and those that were given up
// behind it. Of the chunk n bytes went to a connection that left for reason, if it did. A
// message that was cut is sent again, whole, if its peer cannot have it, as resends says. It
// stays, with those behind it, if it can wait for another connection. Settle reports whether
// some stay.
func (b *Backlog) Settle(c *outbox.Chunk, n int, reason error, resends, active bool) (left bool) {
	if n == len(c.Frames()) && c.Receipts() == 0 {
		b.Shared.Written.Add(c.Messages, c.Payload)
		b.settled(c.Messages, 0, c.Payload)
		b.tellGivenUp()
		b.log.Written(active)
		return false
	}
	n -= b.written(c, n)
	if c.Messages > 0 && n > 0 && !resends {
		half := c.First()
		half.Cut = true
		b.fail(half, CutFor(reason))
	}
	if reason != nil && !b.keeps(reason) {
		for c.Messages > 0 {
			b.fail(c.First(), reason)
		}
	}
	left = c.Messages > 0
	b.tellGivenUp()
	b.log.Unpin()
	return left
}

// Abandon gives up what is pinned, for a write or a batch that may never return. Messages of
// which all is in the first n bytes of a write count as written; the others are reported.
func (b *Backlog) Abandon(n int, reason error) {
	b.forward.abandon()
	for _, copied := range b.log.Abandon() {
		b.written(copied, n)
		copied.Cut = true
		b.fail(copied, reason)
	}
	b.tellGivenUp()
}

// CutFor is the outcome of a message that was cut, and may not be sent again, on a connection
// that left for reason.
func CutFor(reason error) error {
	if reason == nil || reason == outcome.ErrMoved {
		return outcome.ErrReplaced
	}
	return reason
}

// keeps reports whether what waits stays, to leave on another connection or to wait in the
// mailbox, when a connection leaves for reason.
func (b *Backlog) keeps(reason error) bool {
	return b.Shared.mailboxOn() || reason == outcome.ErrMoved && b.Shared.Remote() != nil
}

// settled makes room for messages that have left the log and have an outcome now.
func (b *Backlog) settled(messages, receipts, payload int) {
	b.log.Settled(messages, receipts, payload)
	b.forward.count(-messages, -payload)
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
}

// fail reports a chunk that has left the log as undelivered.
func (b *Backlog) fail(c *outbox.Chunk, err error) {
	b.settled(c.Messages, c.Receipts(), c.Payload)
	b.Shared.Report.Fail(b.ID, c, err)
}

// done counts a message that has left the log as delivered.
func (b *Backlog) done(m outbox.Message, as *outcome.Tally) {
	as.Add(1, len(m.Data))
	b.settled(1, m.Receipts(), len(m.Data))
	m.Receipt.Tell(nil)
}

// written counts the messages of a chunk that end within its first n bytes, for they were
// written, and returns how many bytes they took.
func (b *Backlog) written(c *outbox.Chunk, n int) (took int) {
	for {
		m, size, ok := c.NextWithin(n - took)
		if !ok {
			return took
		}
		took += size
		b.done(m, &b.Shared.Written)
	}
}

// tellGivenUp reports what was given up, behind a write that is settled now.
func (b *Backlog) tellGivenUp() {
	for c := b.log.NextGivenUp(); c != nil; c = b.log.NextGivenUp() {
		b.fail(c, c.Reason)
	}
}

// sift reports the waiting messages for which judge has a reason. It looks for them only if
// may says of a chunk that there may be one.
func (b *Backlog) sift(may func(c *outbox.Chunk) bool, judge func(m *outbox.Message) error) {
	for _, c := range b.log.Sift(may, judge) {
		b.fail(c, c.Reason)
	}
}

// idCost is what a message in the mailbox takes beside its payload, where that is a lot.
func (b *Backlog) idCost() int { return max(0, len(b.ID)-128) }
