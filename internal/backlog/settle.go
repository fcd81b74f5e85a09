package backlog

import (
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// Connect notes that the id is connected. Everything that waits leaves on its connection.
func (b *Backlog) Connect() {
	b.connected = true
	b.mail.leave()
	b.forward.stop()
}

// Disconnect notes that the id has lost its connection, and why. What waits goes to another
// process or to the mailbox, or is reported. A write may still be under way: then its messages
// stay first, and once Settle has left some of them, Disconnect is called again.
func (b *Backlog) Disconnect(reason error) {
	b.connected = false
	if b.remote() && (reason == outcome.ErrMoved || b.forward.wants() == forwardAll) {
		b.mail.leave() // it has come behind what a write has left
		b.forwarder().evict()
	} else {
		b.giveUp(reason, outcome.ErrExpired)
	}
}

// giveUp moves what waits to the mailbox, and reports with large what could never fit there.
// Without a mailbox it reports everything with reason, after the write under way.
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

// Settle gives the messages of a pinned chunk their outcomes, and then reports what was given up
// behind it. The first n bytes of the chunk went out. The reason is why the connection was
// removed; it is nil if the connection is still there, or was replaced. If resends is true, the
// peer cannot use the message that was cut, and it is sent again. Messages stay in the log if
// they can wait for another connection. Settle reports whether any did.
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

// Abandon gives up what is pinned, because its write or its batch may never return. Messages
// that end within the first n bytes of the write count as written. The others are reported.
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

// keeps reports whether messages stay in the log when their connection is removed for reason.
func (b *Backlog) keeps(reason error) bool {
	return b.Shared.mailboxOn() || reason == outcome.ErrMoved && b.Shared.Remote() != nil
}

// settled makes the room of messages that have left the log with an outcome.
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

// written counts as written the messages that end within the first n bytes of a chunk, and
// returns how many bytes they took.
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

// tellGivenUp reports the messages that were given up behind a write, once that is settled.
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
