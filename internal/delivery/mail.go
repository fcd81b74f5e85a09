package delivery

import (
	"sync/atomic"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// mail is what of a log is in the mailbox: its oldest messages, at positions from up to to.
// A nil mail is empty.
type mail struct {
	recipient *Recipient
	from      atomic.Uint64 // changed under the recipient's mu
	to        uint64
	bytes     int
	receipts  int
}

// mailLocked returns r's mail, new if need be.
func (r *Recipient) mailLocked() *mail {
	if r.mail == nil {
		r.mail = &mail{recipient: r}
	}
	return r.mail
}

func (m *mail) messages() int {
	if m == nil {
		return 0
	}
	return int(m.to - m.from.Load())
}

// weight returns how many messages m counts as in the log.
func (m *mail) weight() int {
	if m == nil {
		return 0
	}
	return m.messages() + m.receipts*outbox.ReceiptCost
}

func (m *mail) payload() int {
	if m == nil {
		return 0
	}
	return m.bytes
}

// add counts messages that wait as in the mailbox from now on. The caller then calls Trim
// without a lock, or Schedule.
func (m *mail) add(messages, receipts, bytes int) {
	m.to += uint64(messages)
	m.receipts += receipts
	m.bytes += bytes
	m.recipient.group.mailbox.Put(m, m.to, messages, bytes+messages*m.recipient.idCost())
}

// remove counts the oldest messages out of the mailbox.
func (m *mail) remove(messages, receipts, bytes int) {
	if messages > 0 {
		m.from.Add(uint64(messages))
		m.receipts -= receipts
		m.bytes -= bytes
		m.recipient.group.mailbox.Remove(messages, bytes+messages*m.recipient.idCost())
	}
}

func (m *mail) removeOne(sent *outbox.Message) { m.remove(1, sent.Receipts(), len(sent.Data)) }

// collect has what waits for a connection wait in the mailbox. It reports with large what
// that could not hold, and with ErrMoved what came from another process: two that forward to
// each other would wait for ever.
func (m *mail) collect(large error) {
	r := m.recipient
	most := r.group.MailboxBytes - r.idCost()
	r.forward.forget()
	r.sift(func(c *outbox.Chunk) bool {
		return c.Receipts() > 0 || c.Payload > most
	}, func(m *outbox.Message) error {
		switch {
		case m.Here:
			return outcome.ErrMoved
		case len(m.Data) > most:
			return large
		}
		keep(m)
		return nil
	})
	messages, receipts, bytes := r.log.Waiting()
	if f := r.cursor.flight; f != nil { // some of the mail may be on its way
		for _, sent := range f.batch[f.late:f.mail] {
			messages++
			receipts += sent.Receipts()
			bytes += len(sent.Data)
		}
	}
	if messages -= m.messages(); messages > 0 {
		m.add(messages, receipts-m.receipts, bytes-m.bytes)
	}
	r.group.mailbox.Schedule()
}

// keep tells who asks for the outcome of a message that it is kept in the mailbox, and that
// its outcome is the hook's.
func keep(m *outbox.Message) {
	if m.Receipt != nil && !m.Receipt.Stays {
		m.Receipt.Tell(outcome.ErrKept)
		m.Receipt = nil
	}
}

// leave counts all out of the mailbox: they leave on a connection.
func (m *mail) leave() {
	if m == nil {
		return
	}
	m.remove(m.messages(), m.receipts, m.bytes)
	if f := m.recipient.cursor.flight; f != nil {
		f.mail = f.late
	}
}

// Gone reports whether the mailbox has lost the messages up to a position. It takes no lock.
func (m *mail) Gone(upTo uint64) bool { return m.from.Load() >= upTo }

// Expire locks the recipient and reports its oldest message, if that is still the one to
// give way. One on its way elsewhere is reported when it comes back.
func (m *mail) Expire() {
	r := m.recipient
	r.mu.Lock()
	if r.group.mailbox.Due(m) {
		m.expireOldest()
	}
	r.mu.Unlock()
	r.group.retire(r)
}

func (m *mail) expireOldest() {
	r, reason := m.recipient, outcome.ErrExpired
	if r.group.closed.Load() {
		reason = outcome.ErrClosed
	}
	if f := r.cursor.flight; f != nil && f.late < f.mail {
		m.removeOne(&f.batch[f.late])
		f.late++
		return
	}
	oldest := r.log.First()
	m.remove(1, oldest.Receipts(), oldest.Payload)
	if r.cursor.travels() { // after what is on its way
		r.log.GiveUpFirst(oldest, reason)
	} else {
		r.fail(oldest, reason)
	}
}
