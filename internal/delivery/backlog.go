package delivery

import (
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// A backlog is the log of one id, and where its messages get their outcomes. It is guarded
// by the recipient's mu.
type backlog struct {
	ID    string
	group *Group

	log     outbox.Log
	mail    *mail         // what of log is in the mailbox; nil if nothing has been
	forward *forwarder    // what of log goes to other processes; nil if nothing has
	room    chan struct{} // closed when something leaves; nil while nobody waits
}

// append appends m; tight if it is to wait for long.
func (b *backlog) append(m *outbox.Message, tight bool) {
	if timed := b.log.Append(m, tight); timed != nil {
		timed.Born = b.group.line.Now()
	}
}

// fits reports whether n bytes more may wait. The mailbox has bounds of its own.
func (b *backlog) fits(n int) bool {
	return b.group.fits(b.log.Bytes-b.mail.payload()+n, b.log.Messages-b.mail.weight())
}

// dropOldest has the oldest messages give way to n bytes more, if they are to and that makes
// room, and reports whether it has.
func (b *backlog) dropOldest(n int) bool {
	g := b.group
	if g.Overflow != DropOldest {
		return false
	}
	messages, receipts, bytes := b.log.Waiting() // the rest stays
	if !g.fits(b.log.Bytes-bytes+n, b.log.Messages-messages-receipts*outbox.ReceiptCost) {
		return false
	}
	for b.log.Waits() && !b.fits(n) {
		b.fail(b.log.First(), outcome.ErrSlow)
	}
	return b.fits(n)
}

// settled makes room for messages that have left the log and have an outcome now.
func (b *backlog) settled(messages, receipts, payload int) {
	b.log.Settled(messages, receipts, payload)
	b.forward.count(-messages, -payload)
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
}

// fail reports a chunk that has left the log as undelivered.
func (b *backlog) fail(c *outbox.Chunk, err error) {
	b.settled(c.Messages, c.Receipts(), c.Payload)
	b.group.report.Fail(b.ID, c, err)
}

// done counts a message that has left the log as delivered.
func (b *backlog) done(m outbox.Message, as *outcome.Tally) {
	as.Add(1, len(m.Data))
	b.settled(1, m.Receipts(), len(m.Data))
	m.Receipt.Tell(nil)
}

// allWritten is done for a chunk that was written whole, and has no receipts.
func (b *backlog) allWritten(c *outbox.Chunk) {
	b.group.Written.Add(c.Messages, c.Payload)
	b.settled(c.Messages, 0, c.Payload)
}

// written counts the messages of a chunk that end within its first n bytes, for they were
// written, and returns how many bytes they took.
func (b *backlog) written(c *outbox.Chunk, n int) (took int) {
	for {
		m, size, ok := c.NextWithin(n - took)
		if !ok {
			return took
		}
		took += size
		b.done(m, &b.group.Written)
	}
}

// tellGivenUp reports what was given up, behind a write that is settled now.
func (b *backlog) tellGivenUp() {
	for c := b.log.NextGivenUp(); c != nil; c = b.log.NextGivenUp() {
		b.fail(c, c.Reason)
	}
}

// sift reports the waiting messages for which judge has a reason. It looks for them only if
// may says of a chunk that there may be one.
func (b *backlog) sift(may func(c *outbox.Chunk) bool, judge func(m *outbox.Message) error) {
	for _, c := range b.log.Sift(may, judge) {
		b.fail(c, c.Reason)
	}
}

// idCost is what a message in the mailbox takes beside its payload, where that is a lot.
func (b *backlog) idCost() int { return max(0, len(b.ID)-128) }
