package delivery

import (
	"slices"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/schedule"
)

// forwarding is what the remote is to be given of an id that is away. Each batch begins at
// forwardNone again.
//
//	none -> first   a message comes, or a batch has failed
//	any  -> all     the id has appeared, has moved, or has taken a batch
//	any  -> none    a batch leaves; the id is connected here; there is no remote any more
type forwarding uint8

const (
	forwardNone  forwarding = iota // nobody had the id, and nothing has come since
	forwardFirst                   // the first message in the mailbox, to learn whether anybody has the id
	forwardAll                     // everything: the id is known to be elsewhere
)

// A forwarder brings the messages of an id that is away to other processes. It uses the id's
// cursor, whose write is then a batch on its way. A nil forwarder has nothing to do.
type forwarder struct {
	recipient *Recipient
	due       forwarding
	bytes     int // its share of the group's remoteBytes
}

// forwarderLocked returns r's forwarder, new if need be.
func (r *Recipient) forwarderLocked() *forwarder {
	if r.forward == nil {
		r.forward = &forwarder{recipient: r}
	}
	return r.forward
}

// isRemoteLocked reports whether what comes for r goes elsewhere.
func (r *Recipient) isRemoteLocked() bool {
	return r.cursor.conn == nil && r.group.remote.Load() != nil
}

// wants returns what is to be forwarded.
func (f *forwarder) wants() forwarding {
	if f == nil {
		return forwardNone
	}
	return f.due
}

// accept counts a message of n bytes that is to be forwarded.
func (f *forwarder) accept(n int) {
	f.bytes += n + remoteCost
	f.recipient.group.remoteBytes.Add(int64(n + remoteCost))
	f.due = max(f.due, forwardFirst)
}

// count counts messages less, of those that accept has counted.
func (f *forwarder) count(messages, bytes int) {
	if f != nil && f.bytes > 0 {
		n := max(bytes+messages*remoteCost, -f.bytes)
		f.bytes += n
		f.recipient.group.remoteBytes.Add(int64(n))
	}
}

// forget counts nothing any more of what accept has counted.
func (f *forwarder) forget() {
	if f != nil {
		f.count(0, -f.bytes)
	}
}

// stop ends the forwarding: the id is connected here, or there is no remote any more.
func (f *forwarder) stop() {
	if f != nil {
		f.forget()
		f.due = forwardNone
	}
}

// send hands a batch to the remote, and unlocks the recipient. One at a time keeps the
// order, and what gathers meanwhile goes together.
func (f *forwarder) send(w *schedule.Writer) {
	r := f.recipient
	remote := r.group.Remote()
	if remote == nil { // what was added before Start, or there is no remote any more
		r.cursor.turn = idle
		r.abandonLocked(outcome.ErrNotConnected, outcome.ErrNotConnected)
		r.mu.Unlock()
		r.group.retire(r)
		return
	}
	batch := f.load()
	r.cursor.flight, r.cursor.turn, f.due = batch, writing, forwardNone
	r.mu.Unlock()
	payloads := make([][]byte, len(batch.batch))
	for i, m := range batch.batch {
		payloads[i] = m.Data
	}
	w.Begin()
	remote.Forward(r.group.Pool, r.ID, payloads, func(errs []error) { f.returned(batch, errs) })
	w.End()
}

// load returns a batch of what waits. While nobody is known to have the id, the first
// message in the mailbox goes alone. Otherwise each push to a user who is away would carry
// all her mail.
func (f *forwarder) load() *flight {
	r, b := f.recipient, &flight{cursor: &f.recipient.cursor}
	load := func(c *outbox.Chunk) int {
		for m := range c.All() {
			b.batch = append(b.batch, m)
		}
		return len(c.Frames())
	}
	if f.due == forwardFirst && r.mail.messages() > 0 {
		load(r.log.Pin(true))
	} else {
		for size := 0; r.log.Waits() && size < outbox.Piece; {
			size += load(r.log.Pin(false))
		}
	}
	b.mail = min(len(b.batch), r.mail.messages())
	return b
}

// returned locks the recipient and settles a batch.
func (f *forwarder) returned(b *flight, errs []error) {
	asked := make([]error, len(b.batch))
	for i := range min(len(errs), len(asked)) {
		asked[i] = outcome.Ask(errs[i])
	}
	r := f.recipient
	r.mu.Lock()
	if r.cursor.flight == b { // else it was given up, or returns twice
		f.settle(b, asked)
	}
	r.mu.Unlock()
	r.group.retire(r)
}

// settle gives the messages of a batch their outcomes, and decides what becomes of those
// that stay and of what has come meanwhile.
func (f *forwarder) settle(b *flight, errs []error) {
	r, c, remote := f.recipient, b.cursor, f.recipient.group.remote.Load() != nil
	hadMail, taken := b.mail > 0, false
	kept := keptFrom(errs, b.late, c.conn != nil || r.group.mailboxOn(), remote)
	for i, err := range errs[:kept] {
		taken = taken || err == nil
		f.settleOne(b, i, err)
	}
	if remote && slices.Contains(errs[kept:], outcome.ErrMoved) {
		f.due = forwardAll
	}
	r.tellGivenUp()
	r.log.Unpin()
	c.flight, c.turn = nil, idle
	switch {
	case c.conn != nil:
	case f.due == forwardAll && remote:
		if unmailed := len(errs) - max(kept, b.mail); unmailed > 0 && r.mail.messages() > max(0, b.mail-kept) {
			r.mail.leave() // some has come behind what is left
		}
		f.evict()
	case taken && kept == len(errs): // whoever took these takes the rest
		f.due = forwardAll
	case kept < len(errs) || hadMail && r.group.mailboxOn():
		r.mailLocked().collect(outcome.ErrExpired) // what came meanwhile has set forwardFirst
	default:
		f.due = forwardFirst
	}
	c.wake()
}

// keptFrom returns the first message of a batch that stays. One stays that was certainly not
// delivered, if all behind it stay too, which keeps the order, and if it can wait: for the
// place where its id has moved, for a connection here, or in the mailbox, unless it is late.
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

// settleOne gives message i of a batch its outcome.
func (f *forwarder) settleOne(b *flight, i int, err error) {
	r := f.recipient
	if b.late <= i && i < b.mail {
		r.mail.removeOne(&b.batch[i])
	}
	switch {
	case err == nil:
		r.done(r.log.FirstPinned().Next(), &r.group.Forwarded)
	case i < b.late && outcome.Is(err, outcome.ErrNotConnected):
		r.fail(r.log.FirstPinned(), outcome.ErrExpired)
	default:
		r.fail(r.log.FirstPinned(), err)
	}
}

// evict has what waits go elsewhere, and reports what came from there.
func (f *forwarder) evict() {
	f.due = forwardAll
	f.recipient.sift(
		func(c *outbox.Chunk) bool { return c.Receipts() > 0 },
		func(m *outbox.Message) error {
			if m.Here {
				return outcome.ErrMoved
			}
			return nil
		})
}

// WithoutRemote has r do without a remote: what waits for one goes to the mailbox, or is
// reported with reason, unless it waits for Start all the same. With over, what is under way
// there is reported too.
func (r *Recipient) WithoutRemote(reason error, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if over && r.cursor.travels() {
		r.cursor.flight.abandon(reason)
	}
	if r.cursor.conn == nil {
		r.forward.stop()
		if r.group.Begun() || !r.undecidedLocked() {
			r.abandonLocked(reason, outcome.ErrExpired)
		}
	}
}

// Appeared has what waits in the mailbox for r's id go where it has come.
func (r *Recipient) Appeared() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isRemoteLocked() {
		r.forwarderLocked().due = forwardAll // what comes back from there is not for the mailbox either
		r.cursor.wake()
	}
}
