package delivery

import (
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// A backlog is the log of one id, and where its messages get their outcomes. All of it is
// guarded by the recipient's mu.
type backlog struct {
	outbox.Log
	recipient *Recipient
	room      chan struct{} // closed when something leaves; nil while nobody waits
}

func (b *backlog) append(m *outbox.Message) {
	r := b.recipient
	if timed := b.Append(m, r.cursor.conn == nil); timed != nil {
		timed.Born = r.group.line.Now()
	}
}

// fits reports whether n bytes more may wait. The mailbox has bounds of its own.
func (b *backlog) fits(n int) bool {
	mail := b.recipient.mail
	return b.recipient.group.fits(b.Bytes-mail.payload()+n, b.Messages-mail.messages())
}

// dropOldest has the oldest messages give way to n bytes more, if they are to and that makes
// room, and reports whether it has.
func (b *backlog) dropOldest(n int) bool {
	g := b.recipient.group
	if g.Overflow != DropOldest {
		return false
	}
	if messages, bytes := b.Fixed(); !g.fits(bytes+n, messages) {
		return false
	}
	for b.Waits() && !b.fits(n) {
		b.fail(b.Drop(), outcome.ErrSlow)
	}
	return b.fits(n)
}

// settled makes room for messages that have left the log and have an outcome now.
func (b *backlog) settled(messages, receipts, payload int) {
	b.Settled(messages, receipts, payload)
	b.recipient.forward.count(-messages, -payload)
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
}

// fail reports a chunk that has left the log as undelivered.
func (b *backlog) fail(c *outbox.Chunk, err error) {
	b.settled(c.Messages, c.Receipts(), c.Payload)
	b.recipient.group.report.Fail(b.recipient.ID, c, err)
}

// done counts a message that has left the log as delivered.
func (b *backlog) done(m outbox.Message, as *outcome.Tally) {
	as.Add(1, len(m.Data))
	b.settled(1, m.Receipts(), len(m.Data))
	if tell := m.Receipt.Decide(nil); tell != nil {
		tell()
	}
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
		b.done(m, &b.recipient.group.Written)
	}
}

// tellGivenUp reports what was given up, behind a write that is settled now.
func (b *backlog) tellGivenUp() {
	for c := b.NextGivenUp(); c != nil; c = b.NextGivenUp() {
		b.fail(c, c.Reason)
	}
}

// sift reports the waiting messages for which judge has a reason. It looks for them only if
// may says of a chunk that there may be one.
func (b *backlog) sift(may func(c *outbox.Chunk) bool, judge func(m *outbox.Message) error) {
	for _, c := range b.Sift(may, judge) {
		b.fail(c, c.Reason)
	}
}
