package backlog

import (
	"sync/atomic"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// absence is the state of an id that is away. The oldest messages of its log are in the mailbox,
// at the positions after from. forward.go says which messages go to other processes. When the id
// is connected again, a batch may still be on its way.
type absence struct {
	backlog *Backlog
	from    atomic.Uint64 // changed under the backlog's lock
	mail    outbox.Count  // in the mailbox

	due   forwarding
	share int    // of remoteBytes
	batch *Batch // on its way; nil if none is

	lost []*outbox.Chunk // to be reported after a write or a batch; see Backlog.lose
}

// noAbsence is the absence of each id that has had none of its own. The ids share it, so it must
// stay empty.
var noAbsence absence

// openAbsence returns b's absence, and creates it if there is none.
func (b *Backlog) openAbsence() *absence {
	if b.absence == &noAbsence {
		b.absence = &absence{backlog: b}
	}
	return b.absence
}

// add counts n more messages as being in the mailbox. Afterwards the caller calls Fit without
// holding a lock, or Schedule.
func (a *absence) add(n outbox.Count) {
	a.mail = a.mail.Plus(n)
	upTo := a.from.Load() + uint64(a.mail.Messages)
	a.backlog.Shared.Mailbox.Put(a, upTo, n.Messages, n.Bytes+n.Messages*a.backlog.idCost())
}

// remove counts the oldest messages of the mailbox, n in all, as having left it.
func (a *absence) remove(n outbox.Count) {
	if n.Messages > 0 {
		a.from.Add(uint64(n.Messages))
		a.mail = a.mail.Minus(n)
		a.backlog.Shared.Mailbox.Remove(n.Messages, n.Bytes+n.Messages*a.backlog.idCost())
	}
}

// collect moves all waiting messages to the mailbox, and reports with large those that could
// never fit there.
func (a *absence) collect(large error) {
	b := a.backlog
	a.count(-a.share)
	b.sift(b.mostMail(), large, keep)
	all := b.Log.Waiting()
	for _, sent := range a.traveling() { // some of the mail may be on its way
		all = all.Plus(sent.Count())
	}
	if more := all.Minus(a.mail); more.Messages > 0 {
		a.add(more)
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

// leave takes all messages out of the mailbox, because a connection or another process gets them.
func (a *absence) leave() {
	a.remove(a.mail)
	if a.batch != nil {
		a.batch.mailed = a.batch.late
	}
}

// Gone reports whether the messages up to position upTo have left the mailbox. It takes no lock.
func (a *absence) Gone(upTo uint64) bool { return a.from.Load() >= upTo }

// Expire locks the backlog, and reports its oldest message if the mailbox still says that this
// message must give way. A message that is on its way to another process is reported when its
// batch returns.
func (a *absence) Expire() {
	b := a.backlog
	b.Lock()
	if due, full := b.Shared.Mailbox.Due(a); due {
		a.expireOldest(full)
	}
	empty := b.Log.Empty()
	b.Unlock()
	if empty {
		b.Shared.Retire(b.ID)
	}
}

// expireOldest reports the oldest message, whose ttl is over, or which makes room if the mailbox is
// full.
func (a *absence) expireOldest(full bool) {
	b, reason := a.backlog, outcome.ErrExpired
	switch {
	case b.Shared.Closed.Load():
		reason = outcome.ErrClosed
	case full:
		reason = outcome.ErrCrowded
	}
	if sent := a.traveling(); len(sent) > 0 {
		a.remove(sent[0].Count())
		a.batch.late++
		return
	}
	oldest := b.Log.First()
	a.remove(oldest.Count)
	if b.Travels() { // after the batch
		b.lose(oldest, reason)
	} else { // at once: a write can be stuck for long, and nothing bounds the field lost
		b.fail(oldest, reason)
	}
}
