package backlog

import (
	"strings"
	"sync"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// A Backlog is what waits for one id, and where its messages get their outcomes. It belongs to
// the id, so it outlives each connection. Its lock guards everything about the id. All methods,
// and those of mail and forwarder, expect it locked, except mail.Expire and mail.Gone.
type Backlog struct {
	sync.Mutex
	ID     string
	Shared *Shared

	log       outbox.Log
	mail      *mail         // what of log is in the mailbox; nil if nothing has been
	forward   *forwarder    // what of log goes to other processes; nil if nothing has
	room      chan struct{} // closed when something leaves; nil while nobody waits
	connected bool
	Dead      bool // out of the registry; look the id up again
}

// Init makes b the empty backlog of id.
func (b *Backlog) Init(s *Shared, id string) {
	b.ID = strings.Clone(id) // it may be a part of a long URL, which would stay with it
	b.Shared, b.log = s, outbox.NewLog(s.format)
}

// Full reports whether m has to wait for room. Before Start bounded is false. Then WithBuffer
// bounds everything except messages from elsewhere for one id.
func (b *Backlog) Full(m *outbox.Message, bounded bool) bool {
	s, fits := b.Shared, b.fits(len(m.Data))
	switch {
	case !bounded && (!m.Here || m.ID == ""):
		return false
	case b.connected:
		return !fits
	case m.ID == "":
		return false
	case b.remote():
		return !fits || s.remoteBytes.Load()/remoteShare > int64(s.Outbox)
	}
	return !fits && b.undecided()
}

// Accept takes m in, whatever becomes of it. It reports true if m does not fit and the
// connection must be removed for that. The caller then wakes the cursor.
func (b *Backlog) Accept(m *outbox.Message, bounded bool) (slow bool) {
	s, n, away := b.Shared, len(m.Data), !b.connected
	if away && m.ID == "" {
		return false // a broadcast is for those who are here
	}
	s.Accepted.Add(1, n)
	fits := away || !bounded || b.fits(n) || b.dropOldest(n)
	switch {
	case b.remote():
		b.append(m, away)
		b.forwarder().accept(n)
	case b.undecided():
		b.append(m, away)
	case away && s.mailboxOn() && s.Mailbox.Takes(n+b.idCost()):
		keep(m)
		b.append(m, away)
		b.mailed().add(1, m.Receipts(), n)
	case away:
		s.refuse(b.ID, m, outcome.ErrNotConnected)
	case fits || s.Overflow == Disconnect:
		b.append(m, away)
		return !fits
	default:
		s.refuse(b.ID, m, outcome.ErrSlow)
	}
	return false
}

// append appends m to the log. A tight message may wait for long.
func (b *Backlog) append(m *outbox.Message, tight bool) {
	if timed := b.log.Append(m, tight); timed != nil {
		timed.Born = b.Shared.Line.Now()
	}
}

// undecided reports whether a message for an id that is away waits for its turn in line:
// before Start, and behind messages that were added before Start.
func (b *Backlog) undecided() bool {
	if b.connected || b.mail.messages() > 0 {
		return false
	}
	return !b.Shared.Line.Opened() || b.log.Waits() && !b.log.Pinned()
}

// fits reports whether n bytes more may wait. The mailbox has bounds of its own.
func (b *Backlog) fits(n int) bool {
	return b.Shared.fits(b.log.Bytes-b.mail.payload()+n, b.log.Messages-b.mail.weight())
}

// dropOldest reports the oldest messages as slow to make room for n bytes more, if the policy
// is DropOldest and that can make room. It returns whether there is room now.
func (b *Backlog) dropOldest(n int) bool {
	if b.Shared.Overflow != DropOldest {
		return false
	}
	messages, receipts, bytes := b.log.Waiting() // the rest stays
	if !b.Shared.fits(b.log.Bytes-bytes+n, b.log.Messages-messages-receipts*outbox.ReceiptCost) {
		return false
	}
	for b.log.Waits() && !b.fits(n) {
		b.fail(b.log.First(), outcome.ErrSlow)
	}
	return b.fits(n)
}

// Room returns a channel that is closed when a message has left.
func (b *Backlog) Room() <-chan struct{} {
	if b.room == nil {
		b.room = make(chan struct{})
	}
	return b.room
}

// Empty reports whether nothing waits, and nothing is under way.
func (b *Backlog) Empty() bool { return b.log.Empty() }

// Waits reports whether something waits for a connection or a batch.
func (b *Backlog) Waits() bool { return b.log.Waits() }

// FreeSpare frees the chunk that the log keeps for the next message of a busy id.
func (b *Backlog) FreeSpare() { b.log.FreeSpare() }

// Count returns how many messages have no outcome yet, how many of them are in the mailbox,
// and the payload of both.
func (b *Backlog) Count() (messages, bytes, mailbox, mailboxBytes int) {
	return b.log.Left(), b.log.Bytes, b.mail.messages(), b.mail.payload()
}
