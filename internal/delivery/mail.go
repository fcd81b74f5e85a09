package delivery

import (
	"sync/atomic"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// mail is what of a log is in the mailbox: the messages at positions from up to to, which
// are its oldest, but for what an older write may still bring back.
type mail struct {
	from  atomic.Uint64 // changed under the recipient's mu
	to    uint64
	bytes int // payload
}

func (m *mail) messages() int { return int(m.to - m.from.Load()) }

// Gone reports whether the mailbox has lost the messages up to a position.
func (r *Recipient) Gone(upTo uint64) bool { return r.mail.from.Load() >= upTo }

// idCost is what a message in the mailbox takes beside its payload, where that is a lot.
func (r *Recipient) idCost() int { return max(0, len(r.ID)-128) }

// mailLocked counts messages that wait as in the mailbox from now on. The caller trims the
// mailbox once it has released its locks.
func (r *Recipient) mailLocked(messages, bytes int) {
	if messages == 0 {
		return
	}
	r.mail.to += uint64(messages)
	r.mail.bytes += bytes
	r.group.mailbox.Put(r, r.mail.to, messages, bytes+messages*r.idCost())
}

// unmailLocked counts the oldest messages out of the mailbox.
func (r *Recipient) unmailLocked(messages, bytes int) {
	if messages == 0 {
		return
	}
	r.mail.from.Add(uint64(messages))
	r.mail.bytes -= bytes
	r.group.mailbox.Remove(messages, bytes+messages*r.idCost())
}

// toMailboxLocked has all that waits wait in the mailbox. It reports with large what that
// could not hold, and with ErrMoved what came from another process: two that forward to each
// other would wait for ever.
func (r *Recipient) toMailboxLocked(large error) {
	g, most := r.group, r.group.MailboxBytes-r.idCost()
	r.addRemoteBytes(-r.remoteBytes)
	refused := r.log.Sift(func(c *outbox.Chunk) bool {
		return c.Receipts() > 0 || c.Payload > most
	}, func(m *outbox.Message) error {
		switch {
		case m.Here && m.Receipt != nil:
			return outcome.ErrMoved
		case len(m.Data) > most:
			return large
		}
		r.keptLocked(m)
		return nil
	})
	r.log.Fit()
	messages, bytes := r.log.Waiting()
	if f := r.cursor.flight; f != nil { // some of the mail may be on its way
		messages += f.mail - f.late
		for _, data := range f.batch[f.late:f.mail] {
			bytes += len(data)
		}
	}
	r.mailLocked(messages-r.mail.messages(), bytes-r.mail.bytes)
	for _, c := range refused {
		r.failLocked(c, c.Reason)
	}
	g.mailbox.Schedule()
}

// keptLocked tells who waits for m's outcome that m is kept, and that its outcome is the
// hook's.
func (r *Recipient) keptLocked(m *outbox.Message) {
	if tell := m.Receipt.Decide(outcome.ErrKept); tell != nil {
		tell()
	}
	m.Receipt = nil
}

// leaveMailboxLocked counts all of r's mail out of the mailbox: it leaves on a connection.
func (r *Recipient) leaveMailboxLocked() {
	r.unmailLocked(r.mail.messages(), r.mail.bytes)
	if f := r.cursor.flight; f != nil {
		f.mail = f.late
	}
}

// Expire reports the oldest message in the mailbox, if it is r's and is to give way. One on
// its way elsewhere is reported when it comes back.
func (r *Recipient) Expire() {
	r.mu.Lock()
	if r.group.mailbox.Due(r) {
		r.expireLocked()
	}
	r.mu.Unlock()
	r.group.retire(r)
}

func (r *Recipient) expireLocked() {
	reason := outcome.ErrExpired
	if r.group.closed.Load() {
		reason = outcome.ErrClosed
	}
	switch f := r.cursor.flight; {
	case f != nil && f.late < f.mail:
		f.late++
		r.unmailLocked(1, len(f.batch[f.late-1]))
	case f != nil && f.batch != nil: // after what is on its way
		r.unmailLocked(1, r.log.FirstPayload())
		r.log.GiveUpFirst(reason)
	default:
		r.unmailLocked(1, r.log.FirstPayload())
		r.failLocked(r.log.Drop(), reason)
	}
}
