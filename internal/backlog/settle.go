package backlog

import (
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// Connect notes that the id is connected. Everything that waits leaves on its connection.
func (b *Backlog) Connect() {
	b.Connected = true
	b.absence.leave()
	b.absence.stop()
}

// Disconnect notes that the id has lost its connection, and why. The waiting messages go to
// another process or to the mailbox, or are reported. If a write is still under way, its messages
// stay pinned; if Settle then leaves some of them in the log, Disconnect is called again.
func (b *Backlog) Disconnect(reason error) {
	b.Connected = false
	if b.remote() && (reason == outcome.ErrMoved || b.absence.due == forwardAll) {
		b.absence.leave() // the mail came after messages that a write has left
		b.openAbsence().evict()
	} else {
		b.giveUp(reason, outcome.ErrExpired)
	}
	b.Room.Wake() // the bounds have changed
}

// giveUp moves the waiting messages to the mailbox, and reports with large those that could never
// fit there. Without a mailbox, it reports all of them with reason, once the write under way has
// ended.
func (b *Backlog) giveUp(reason, large error) {
	if b.Shared.mailboxOn() {
		b.openAbsence().collect(large)
		return
	}
	b.absence.leave() // the mailbox may have been closed just now
	for _, c := range b.Log.Take() {
		b.lose(c, reason)
	}
}

// lose reports a chunk that has left the log as undelivered, once the write or the batch before
// it has ended. Messages that enter the log later wait behind that write or batch.
func (b *Backlog) lose(c *outbox.Chunk, reason error) {
	if !b.Log.Pinned() {
		b.fail(c, reason)
		return
	}
	c.Reason = reason
	a := b.openAbsence()
	a.lost = append(a.lost, c)
}

// tellLost reports the messages that were lost behind a write or a batch.
func (a *absence) tellLost() {
	if a.lost != nil { // noAbsence must not change
		for _, c := range a.lost {
			a.backlog.fail(c, c.Reason)
		}
		a.lost = nil
	}
}

// Settle gives the messages of the pinned chunk their outcomes, and then reports the messages
// that were lost behind it. A message that ends within the first n bytes of the chunk was
// written. If a later one begins within the first "most" bytes, the peer may be able to use a part
// of it, so it is reported, and never sent again. reason says why the connection was removed or is
// about to be; it is nil if the connection stays, or was replaced. Messages stay in the log if
// they can wait for another connection. Settle reports whether any did.
func (b *Backlog) Settle(c *outbox.Chunk, n, most int, reason error, active bool) (left bool) {
	if n == len(c.Frames()) && c.Receipts == 0 { // all at once
		b.Shared.Written.Add(c.Messages, c.Bytes)
		b.settled(c.Count)
		c.Messages = 0
	}
	for most -= b.written(c, n); c.Messages > 0 && most > 0; {
		cut := c.First()
		most -= len(cut.Frames())
		cut.Cut = true
		b.fail(cut, CutFor(reason))
	}
	if reason != nil && !b.Shared.keeps(reason) {
		for c.Messages > 0 {
			b.fail(c.First(), reason)
		}
	}
	left = c.Messages > 0
	b.absence.tellLost()
	b.Log.Unpin(active)
	return left
}

// Abandon gives up the pinned messages, because their write or batch may never return. Messages
// that end within the first n bytes of the write count as written. The others are reported with
// reason.
func (b *Backlog) Abandon(n int, reason error) {
	if a := b.absence; a.batch != nil {
		for _, sent := range a.traveling() {
			a.remove(sent.Count())
		}
		a.batch = nil
	}
	if copied := b.Log.Abandon(); copied != nil {
		b.written(copied, n)
		copied.Cut = true
		b.fail(copied, reason)
	}
	b.absence.tellLost()
}

// CutFor returns the outcome of a message that was cut and must not be sent again, on a
// connection that was removed for reason.
func CutFor(reason error) error {
	if reason == nil || reason == outcome.ErrMoved {
		return outcome.ErrReplaced
	}
	return reason
}
