package backlog

import (
	"sync/atomic"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// absence is the state of an id that is away: the oldest messages of its log are in the mailbox,
// from position from up to position to, and forward.go says which messages go to other processes.
// A batch may still be on its way when the id is connected again.
type absence struct {
	backlog  *Backlog
	from     atomic.Uint64 // changed under the backlog's lock
	to       uint64
	bytes    int // of the messages in the mailbox
	receipts int

	due   forwarding
	share int    // of remoteBytes
	batch *Batch // on its way; nil if none is

	lost []*outbox.Chunk // behind a write or a batch; see Backlog.lose
}

// noAbsence is the absence of each id that has had none. It stays empty, so nothing changes it.
var noAbsence absence

// openAbsence returns b's absence, and creates it if there is none.
func (b *Backlog) openAbsence() *absence {
	if b.absence == &noAbsence {
		b.absence = &absence{backlog: b}
	}
	return b.absence
}

// messages returns how many messages are in the mailbox.
func (a *absence) messages() int { return int(a.to - a.from.Load()) }

// add counts messages as in the mailbox from now on. The caller then calls Fit without holding
// a lock, or Schedule.
func (a *absence) add(messages, receipts, bytes int) {
	a.to += uint64(messages)
	a.receipts += receipts
	a.bytes += bytes
	a.backlog.Shared.Mailbox.Put(a, a.to, messages, bytes+messages*a.backlog.idCost())
}

// remove counts the oldest messages out of the mailbox.
func (a *absence) remove(messages, receipts, bytes int) {
	if messages > 0 {
		a.from.Add(uint64(messages))
		a.receipts -= receipts
		a.bytes -= bytes
		a.backlog.Shared.Mailbox.Remove(messages, bytes+messages*a.backlog.idCost())
	}
}

func (a *absence) removeOne(sent *outbox.Message) { a.remove(1, sent.Receipts(), len(sent.Data)) }

// collect moves all waiting messages to the mailbox. Messages that could never fit there it
// reports with large.
func (a *absence) collect(large error) {
	b := a.backlog
	most := b.Shared.MailboxBytes - b.idCost()
	a.forget()
	b.sift(most, large, keep)
	messages, receipts, bytes := b.Log.Waiting()
	for _, sent := range a.traveling() { // some of the mail may be on its way
		messages++
		receipts += sent.Receipts()
		bytes += len(sent.Data)
	}
	if messages -= a.messages(); messages > 0 {
		a.add(messages, receipts-a.receipts, bytes-a.bytes)
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

// leave takes all messages out of the mailbox; they leave on a connection or for another process.
func (a *absence) leave() {
	a.remove(a.messages(), a.receipts, a.bytes)
	if a.batch != nil {
		a.batch.mailed = a.batch.late
	}
}

// Gone reports whether the mailbox has lost the messages up to a position. It takes no lock.
func (a *absence) Gone(upTo uint64) bool { return a.from.Load() >= upTo }

// Expire locks the backlog, and reports its oldest message if the mailbox still says that the
// message must give way. A message that is on its way elsewhere is reported when it comes back.
func (a *absence) Expire() {
	b := a.backlog
	b.Lock()
	if b.Shared.Mailbox.Due(a) {
		a.expireOldest()
	}
	empty := b.Log.Empty()
	b.Unlock()
	if empty {
		b.Shared.Retire(b.ID)
	}
}

func (a *absence) expireOldest() {
	b, reason := a.backlog, outcome.ErrExpired
	if b.Shared.Closed.Load() {
		reason = outcome.ErrClosed
	}
	if sent := a.traveling(); len(sent) > 0 {
		a.removeOne(&sent[0])
		a.batch.late++
		return
	}
	oldest := b.Log.First()
	a.remove(1, oldest.Receipts(), oldest.Payload)
	if b.Travels() { // after the batch
		b.lose(oldest, reason)
	} else { // a write may be stuck for long, and nothing would bound what gives way meanwhile
		b.fail(oldest, reason)
	}
}
