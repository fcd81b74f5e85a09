package backlog

import (
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/signal"
	"github.com/nulijiabei/gcpool/internal/stripes"
)

// An account holds the log of one id, and gives its messages their outcomes.
type account struct {
	ID     string
	Shared *Shared
	Log    outbox.Log

	absence *absence      // which messages are in the mailbox or go to other processes; see noAbsence
	Room    signal.Signal // woken when a message has left, or the bounds have changed
}

// fits reports whether n more bytes may wait outside the mailbox, which has bounds of its own.
func (a *account) fits(n int) bool {
	return a.Shared.fits(a.Outbox(), n)
}

// dropOldest makes room for n more bytes by dropping the oldest messages, which it reports with
// ErrSlow. It drops nothing unless the policy is DropOldest and enough messages wait. It returns
// whether there is room now.
func (a *account) dropOldest(n int) bool {
	if a.Shared.Overflow != DropOldest {
		return false
	}
	if stays := a.Log.Count.Minus(a.Log.Waiting()); !a.Shared.fits(stays, n) {
		return false
	}
	for !a.fits(n) {
		a.fail(a.Log.First(), outcome.ErrSlow)
	}
	return true
}

// Mail counts the messages in the mailbox.
func (a *account) Mail() outbox.Count { return a.absence.mail }

// Outbox counts the messages that wait outside the mailbox.
func (a *account) Outbox() outbox.Count { return a.Log.Count.Minus(a.absence.mail) }

// settled frees the room of n messages that have left the log with an outcome.
func (a *account) settled(n outbox.Count) {
	a.Log.Settled(n)
	a.absence.count(-n.Bytes - n.Messages*remoteCost)
	a.Room.Wake()
}

// fail reports a chunk that has left the log as undelivered.
func (a *account) fail(c *outbox.Chunk, err error) {
	a.settled(c.Count)
	a.Shared.Report.Fail(a.ID, c, err)
}

// done counts a message that has left the log as delivered.
func (a *account) done(m outbox.Message, as *stripes.Tally) {
	as.Add(1, len(m.Data))
	a.settled(m.Count())
	m.Receipt.Tell(nil)
}

// written counts as written the messages that end within the first n bytes of a chunk, and
// returns how many bytes those messages took.
func (a *account) written(c *outbox.Chunk, n int) (took int) {
	for c.Messages > 0 && took+c.NextSize() <= n {
		took += c.NextSize()
		a.done(c.Next(), &a.Shared.Written)
	}
	return took
}

// sift removes and reports the waiting messages that cannot stay. Those of more than most bytes
// get large as their outcome. Those that another process has sent to this id get ErrMoved, because
// two processes that forward to each other would wait forever. A Broadcast has no receipt, and the
// log keeps FromRemote only with one: its messages stay, because no process waits for them. sift may call stays for any other message, and calls
// it for each that has a receipt.
func (a *account) sift(most int, large error, stays func(m *outbox.Message)) {
	a.Log.Sift(most, func(m *outbox.Message) error {
		switch {
		case m.FromRemote:
			return outcome.ErrMoved
		case len(m.Data) > most:
			return large
		}
		stays(m)
		return nil
	}, a.fail)
}

// mostMail returns how many bytes a message for the mailbox may have.
func (a *account) mostMail() int { return a.Shared.MailboxBytes - a.idCost() }

// idCost returns how many bytes the id adds to a message in the mailbox, if the id is long.
func (a *account) idCost() int { return max(0, len(a.ID)-128) }
