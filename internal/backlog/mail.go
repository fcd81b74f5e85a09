package backlog

import (
	"sync/atomic"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// mail is the part of a log that is in the mailbox: the oldest messages, from position from up
// to position to.
type mail struct {
	backlog  *Backlog
	from     atomic.Uint64 // changed under the backlog's lock
	to       uint64
	bytes    int
	receipts int
}

// noMail is the mail of each id that has had none. It stays empty, so nothing changes it.
var noMail mail

// openMail returns b's mail, new if need be.
func (b *Backlog) openMail() *mail {
	if b.mail == &noMail {
		b.mail = &mail{backlog: b}
	}
	return b.mail
}

func (m *mail) messages() int { return int(m.to - m.from.Load()) }

// weight returns how many messages m counts as in Log.Messages.
func (m *mail) weight() int { return m.messages() + m.receipts*outbox.ReceiptCost }

// add counts messages as in the mailbox from now on. The caller then calls Fit without holding
// a lock, or Schedule.
func (m *mail) add(messages, receipts, bytes int) {
	m.to += uint64(messages)
	m.receipts += receipts
	m.bytes += bytes
	m.backlog.Shared.Mailbox.Put(m, m.to, messages, bytes+messages*m.backlog.idCost())
}

// remove counts the oldest messages out of the mailbox.
func (m *mail) remove(messages, receipts, bytes int) {
	if messages > 0 {
		m.from.Add(uint64(messages))
		m.receipts -= receipts
		m.bytes -= bytes
		m.backlog.Shared.Mailbox.Remove(messages, bytes+messages*m.backlog.idCost())
	}
}

func (m *mail) removeOne(sent *outbox.Message) { m.remove(1, sent.Receipts(), len(sent.Data)) }

// collect moves everything that waits to the mailbox. It reports with large what could never fit
// there.
func (m *mail) collect(large error) {
	b := m.backlog
	most := b.Shared.MailboxBytes - b.idCost()
	b.forward.forget()
	b.sift(most, large, keep)
	messages, receipts, bytes := b.Log.Waiting()
	for _, sent := range b.forward.mail() { // some of the mail may be on its way
		messages++
		receipts += sent.Receipts()
		bytes += len(sent.Data)
	}
	if messages -= m.messages(); messages > 0 {
		m.add(messages, receipts-m.receipts, bytes-m.bytes)
	}
	b.Shared.Mailbox.Schedule()
}

// keep tells Deliver that its message is kept in the mailbox. The final outcome goes to the hook.
func keep(m *outbox.Message) {
	if m.Receipt != nil && !m.Receipt.Stays {
		m.Receipt.Tell(outcome.ErrKept)
		m.Receipt = nil
	}
}

// leave counts everything out of the mailbox, to leave on a connection or for another process.
func (m *mail) leave() {
	if m.messages() == 0 {
		return
	}
	m.remove(m.messages(), m.receipts, m.bytes)
	if batch := m.backlog.forward.batch; batch != nil {
		batch.mailed = batch.late
	}
}

// Gone reports whether the mailbox has lost the messages up to a position. It takes no lock.
func (m *mail) Gone(upTo uint64) bool { return m.from.Load() >= upTo }

// Expire locks the backlog, and reports its oldest message if the mailbox still says that this
// must give way. A message that is on its way elsewhere is reported when it comes back.
func (m *mail) Expire() {
	b := m.backlog
	b.Lock()
	if b.Shared.Mailbox.Due(m) {
		m.expireOldest()
	}
	empty := b.Log.Empty()
	b.Unlock()
	if empty {
		b.Shared.Retire(b.ID)
	}
}

func (m *mail) expireOldest() {
	b, reason := m.backlog, outcome.ErrExpired
	if b.Shared.Closed.Load() {
		reason = outcome.ErrClosed
	}
	if sent := b.forward.mail(); len(sent) > 0 {
		m.removeOne(&sent[0])
		b.forward.batch.late++
		return
	}
	oldest := b.Log.First()
	m.remove(1, oldest.Receipts(), oldest.Payload)
	if b.Travels() { // after what is on its way
		b.Log.GiveUpFirst(oldest, reason)
	} else {
		b.fail(oldest, reason)
	}
}
