package backlog

import (
	"math"
	"slices"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// forwarding says which messages of an id that is away go to the remote next. It is forwardNone
// again when a batch leaves.
//
//	none -> first   a message comes, or a batch has failed
//	any  -> all     the id has appeared elsewhere, has moved, or has taken messages of a batch
//	any  -> none    a batch leaves; the id is connected here; there is no remote any more
type forwarding uint8

const (
	forwardNone  forwarding = iota // no process had the id, and no message has come since
	forwardFirst                   // the first message in the mailbox, to learn whether another process has the id
	forwardAll                     // everything: the id is known to be elsewhere
)

// A Batch has messages of one id that are on their way to another process. They stay pinned in
// the log until their outcomes come.
type Batch struct {
	remote   *Remote // where it goes
	chunk    *outbox.Chunk
	messages []outbox.Message // those of chunk
	mailed   int              // how many of its first messages are in the mailbox
	late     int              // how many of those have given way there meanwhile
}

// Forward hands the batch to the remote, which calls done with the outcomes. Forward can block.
func (b *Batch) Forward(pool, id string, done func(errs []error)) {
	all := make([][]byte, len(b.messages))
	for i, m := range b.messages {
		all[i] = m.Data
	}
	(*b.remote).Forward(pool, id, all, done)
}

// Len returns how many messages there are.
func (b *Batch) Len() int { return len(b.messages) }

// remote reports whether new messages for the id go elsewhere.
func (b *Backlog) remote() bool { return !b.Connected && b.Shared.Remote() != nil }

// Travels reports whether a batch is on its way to another process.
func (b *Backlog) Travels() bool { return b.absence.batch != nil }

// Due reports whether the cursor of an id that is away has something to Load.
func (b *Backlog) Due() bool {
	switch {
	case b.Connected || !b.Log.Waits():
		return false
	case b.remote() && b.Mail().Messages > 0:
		return b.absence.due != forwardNone
	case b.remote(): // including messages that have waited for Start since before there was a remote
		return true
	}
	return b.undecided()
}

// traveling returns the messages of the batch that count as in the mailbox.
func (a *absence) traveling() []outbox.Message {
	if a.batch == nil {
		return nil
	}
	return a.batch.messages[a.batch.late:a.batch.mailed]
}

// count adds n bytes to remoteBytes. If n is negative, it takes no more away than a has added.
func (a *absence) count(n int) {
	if n = max(n, -a.share); n != 0 { // noAbsence must not change
		a.share += n
		a.backlog.Shared.remoteBytes.Add(int64(n))
	}
}

// stop ends the forwarding: the id is connected here, or there is no remote any more.
func (a *absence) stop() {
	a.count(-a.share)
	if a.due != forwardNone { // noAbsence must not change
		a.due = forwardNone
	}
}

// Load pins the first chunk that waits as a batch, and returns it. While no process is known to
// have the id, only the first message in the mailbox goes; otherwise each push to a user who is
// away would carry all of that user's mail. If there is no remote, Load returns nil, and moves
// the waiting messages to the mailbox, or reports them: they were added before Start, or have
// waited for a remote that is gone.
func (b *Backlog) Load() *Batch {
	a, batch := b.openAbsence(), &Batch{remote: b.Shared.remote.Load()}
	if *batch.remote == nil {
		b.giveUp(outcome.ErrNotConnected, outcome.ErrNotConnected)
		return nil
	}
	batch.chunk = b.Log.Pin(a.due == forwardFirst && a.mail.Messages > 0)
	for rest := *batch.chunk; rest.Messages > 0; { // a copy: the chunk keeps its messages
		batch.messages = append(batch.messages, rest.Next())
	}
	batch.mailed = min(len(batch.messages), a.mail.Messages)
	a.batch, a.due = batch, forwardNone
	return batch
}

// Returned settles the messages of a batch, except those that stay. It decides where these go
// next, together with the messages that came meanwhile. If the batch was given up, or has
// returned before, Returned does nothing and reports false.
func (b *Backlog) Returned(batch *Batch, errs []error) bool {
	a, remote := b.absence, b.Shared.remote.Load()
	if a.batch != batch {
		return false
	}
	current, same := *remote, remote == batch.remote // if not same, the answers do not say who has the id now
	kept := keptFrom(errs, batch.late, b.Connected || b.Shared.mailboxOn(), current != nil)
	for i, err := range errs[:kept] {
		a.settle(i, err)
	}
	moved := same && slices.Contains(errs[kept:], outcome.ErrMoved)
	b.absence.tellLost()
	b.Log.Unpin(false)
	a.batch = nil
	switch {
	case b.Connected:
	case current != nil && (moved || a.due == forwardAll):
		if unmailed := len(errs) - max(kept, batch.mailed); unmailed > 0 && a.mail.Messages > max(0, batch.mailed-kept) {
			a.leave() // messages that are not mail now stand before mail
		}
		a.evict()
	case same && kept == len(errs) && slices.Contains(errs, nil): // the process that took some takes the rest
		a.due = forwardAll
	case b.Shared.mailboxOn() && (kept < len(errs) || batch.mailed > 0):
		a.collect(outcome.ErrExpired) // messages that came meanwhile have set forwardFirst
	case current != nil:
		a.due = forwardFirst
	}
	return true
}

// keptFrom returns the index of the first message of a batch that stays. A message stays if it
// was certainly not delivered, if all messages behind it stay too, which keeps the order, and if
// there is a place where it can wait: the process to which the id has moved, a connection here,
// or the mailbox. A late message does not stay.
func keptFrom(errs []error, late int, place, remote bool) int {
	kept := len(errs)
	for kept > late {
		err := errs[kept-1]
		moved := remote && err == outcome.ErrMoved
		if !moved && !(place && err != nil && outcome.Is(err, outcome.ErrNotConnected)) {
			break
		}
		kept--
	}
	return kept
}

// settle gives message i of the batch its outcome.
func (a *absence) settle(i int, err error) {
	b, batch := a.backlog, a.batch
	if batch.late <= i && i < batch.mailed {
		a.remove(batch.messages[i].Count())
	}
	switch {
	case err == nil:
		b.done(batch.chunk.Next(), &b.Shared.Forwarded)
	case i < batch.late && outcome.Is(err, outcome.ErrNotConnected):
		b.fail(batch.chunk.First(), outcome.ErrExpired)
	default:
		b.fail(batch.chunk.First(), err)
	}
}

// evict forwards everything that waits, except what another process has sent to this id.
func (a *absence) evict() {
	a.due = forwardAll
	a.backlog.sift(math.MaxInt, nil, func(*outbox.Message) {})
}

// WithoutRemote notes that there is no remote any more. If the id is away, the waiting messages
// go to the mailbox, or are reported with reason, unless they wait for Start anyway.
func (b *Backlog) WithoutRemote(reason error) {
	if b.Connected {
		return
	}
	b.absence.stop()
	if b.Shared.Line.Opened() || !b.undecided() {
		b.giveUp(reason, outcome.ErrExpired)
	}
	if b.Travels() { // the batch may take long to return
		b.absence.tellLost()
	}
}

// Appeared notes that the id is connected to another process, so everything goes there.
func (b *Backlog) Appeared() {
	if b.remote() {
		b.openAbsence().due = forwardAll
	}
}
