package delivery

import (
	"bytes"
	"context"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/schedule"
)

// A Remote is what package gcpool documents as Cluster.
type Remote interface {
	Changed(pool, id string)
	Forward(pool, id string, batch [][]byte, done func(errs []error))
	Broadcast(pool string, data []byte) error
}

const (
	// remoteCost is what a message for elsewhere takes beside its payload: its
	// id may be one that nobody has.
	remoteCost = 512
	// remoteShare is how many outboxes full of such messages may wait.
	remoteShare = 64
)

// Remote returns what carries messages elsewhere, nil if there is none.
func (g *Group) Remote() Remote {
	if r := g.remote.Load(); r != nil {
		return *r
	}
	return nil
}

// SetRemote sets what carries messages elsewhere; nil is nobody. Recipients
// that wait for it must then be told by WithoutRemote.
func (g *Group) SetRemote(r Remote) {
	if r == nil {
		g.remote.Store(nil)
	} else {
		g.remote.Store(&r)
	}
}

// BroadcastRemote has r send data to all. The function that it returns waits for that, but not
// past ctx or Cut.
func (g *Group) BroadcastRemote(r Remote, data []byte) (wait func(ctx context.Context) error) {
	sent := make(chan error, 1)
	data = bytes.Clone(data) // r may have it for longer
	g.tasks.Go(func() { sent <- r.Broadcast(g.Pool, data) })
	return func(ctx context.Context) error {
		select {
		case err := <-sent:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-g.over.Done():
			return outcome.ErrClosed
		}
	}
}

// isRemoteLocked reports whether what comes for r goes elsewhere.
func (r *Recipient) isRemoteLocked() bool {
	return r.cursor.conn == nil && r.group.remote.Load() != nil
}

// addRemoteBytes counts n bytes more, or fewer, that are on their way elsewhere.
func (r *Recipient) addRemoteBytes(n int) {
	if n = max(n, -r.remoteBytes); n != 0 {
		r.remoteBytes += n
		r.group.remoteBytes.Add(int64(n))
	}
}

// congestedLocked reports whether m must wait before it may go elsewhere. A broadcast
// goes to nobody who is away. The same holds behind what waits to be decided since before
// Start.
func (r *Recipient) congestedLocked(m *outbox.Message) bool {
	g, remote := r.group, r.isRemoteLocked()
	return m.ID != "" && (remote || r.undecidedLocked()) &&
		(!r.fitsLocked(len(m.Data)) || remote && g.remoteBytes.Load()/remoteShare > int64(g.Outbox))
}

// forwardLocked hands a batch to the remote, and unlocks r. One at a time keeps the order,
// and what gathers meanwhile goes together.
func (r *Recipient) forwardLocked(w *schedule.Writer) {
	c, remote := &r.cursor, r.group.Remote()
	if remote == nil { // what was added before Start, or there is no remote any more
		c.turn = idle
		r.abandonLocked(outcome.ErrNotConnected)
		r.mu.Unlock()
		r.group.retire(r)
		return
	}
	f := r.loadLocked()
	c.flight, c.turn, r.forward = f, writing, forwardNone
	r.mu.Unlock()
	w.Begin()
	remote.Forward(r.group.Pool, r.ID, f.batch, func(errs []error) { r.returned(f, errs) })
	w.End()
}

// loadLocked returns a batch of what waits. While nobody is known to have the id, the first
// message in the mailbox goes alone: each push to a user who is away would carry all his
// mail else.
func (r *Recipient) loadLocked() *flight {
	f := &flight{cursor: &r.cursor}
	load := func(c *outbox.Chunk) int {
		for m := range c.All() {
			f.batch = append(f.batch, m.Data)
		}
		return len(c.Frames())
	}
	if r.forward == forwardFirst && r.mail.messages() > 0 {
		load(r.log.PinAlone())
	} else {
		for size := 0; r.log.Waits() && size < outbox.Piece; {
			size += load(r.log.Pin())
		}
	}
	f.mail = min(len(f.batch), r.mail.messages())
	return f
}

// returned settles a batch. A message that was certainly not delivered stays, if all behind
// it in the batch stay as well, and if it can wait: for the place where its id has moved, for
// a connection here, or in the mailbox.
func (r *Recipient) returned(f *flight, errs []error) {
	asked := make([]error, len(f.batch))
	for i := range min(len(errs), len(asked)) {
		asked[i] = outcome.Ask(errs[i])
	}
	r.mu.Lock()
	defer r.group.retire(r)
	defer r.mu.Unlock()
	c := &r.cursor
	if c.flight != f { // given up, or returned twice
		return
	}
	g, kept := r.group, f.keptFrom(asked, r.cursor.conn != nil || r.group.mailboxOn(), r.group.remote.Load() != nil)
	hadMail, taken, moved := f.mail > 0, false, false
	for i := range kept {
		taken = taken || asked[i] == nil
		r.settleReturnedLocked(f, i, asked[i])
	}
	for _, err := range asked[kept:] {
		moved = moved || err == outcome.ErrMoved && g.remote.Load() != nil
	}
	r.tellGivenUpLocked()
	r.log.Unpin()
	if c.flight = nil; moved {
		r.forward = forwardAll
	}
	switch {
	case c.conn != nil:
	case r.forward == forwardAll && g.remote.Load() != nil:
		r.evictLocked()
	case taken && kept == len(f.batch): // whoever took these takes the rest
		r.forward = forwardAll
	case kept < len(f.batch) || hadMail && g.mailboxOn():
		r.toMailboxLocked(outcome.ErrExpired) // what came meanwhile has set forwardFirst
	default:
		r.forward = forwardFirst
	}
	c.turn = idle
	c.wakeLocked()
}

// keptFrom returns the first message of a batch that stays, with all behind it. Those that
// gave way in the mailbox meanwhile do not stay.
func (f *flight) keptFrom(errs []error, place, remote bool) int {
	kept := len(errs)
	for kept > f.late {
		err := errs[kept-1]
		moved := err == outcome.ErrMoved && remote
		if !moved && !(place && err != nil && outcome.Is(err, outcome.ErrNotConnected)) {
			break
		}
		kept--
	}
	return kept
}

// settleReturnedLocked gives message i of a batch its outcome.
func (r *Recipient) settleReturnedLocked(f *flight, i int, err error) {
	if f.late <= i && i < f.mail {
		r.unmailLocked(1, len(f.batch[i]))
	}
	if i < f.late && err != nil && outcome.Is(err, outcome.ErrNotConnected) {
		err = outcome.ErrExpired
	}
	if err == nil {
		r.doneLocked(r.log.NextPinned(), &r.group.Forwarded)
	} else {
		r.failLocked(r.log.DropPinned(), err)
	}
}

// evictLocked reports what came from another process for a connection that is gone.
func (r *Recipient) evictLocked() {
	for _, c := range r.log.Sift(
		func(c *outbox.Chunk) bool { return c.Receipts() > 0 },
		func(m *outbox.Message) error {
			if m.Here {
				return outcome.ErrMoved
			}
			return nil
		}) {
		r.failLocked(c, c.Reason)
	}
}

// abandonLocked has what waits go to the mailbox, or reports it with reason.
func (r *Recipient) abandonLocked(reason error) {
	if !r.group.mailboxOn() {
		r.log.GiveUp(reason)
		if f := r.cursor.flight; f == nil || f.conn == nil { // a remote may take long
			r.tellGivenUpLocked()
		}
		return
	}
	large := outcome.ErrExpired
	if reason == outcome.ErrNotConnected {
		large = reason // as where Add decides
	}
	r.toMailboxLocked(large)
}

// WithoutRemote has r do without a remote: what waits for one goes to the mailbox, or is
// reported with reason, unless it waits for Start all the same. With over, what is under way
// there is reported too.
func (r *Recipient) WithoutRemote(reason error, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.cursor.flight; over && f != nil && f.conn == nil {
		f.abandonLocked(reason)
	}
	if r.cursor.conn == nil {
		r.forward = forwardNone
		if r.group.Begun() || !r.undecidedLocked() {
			r.abandonLocked(reason)
		}
	}
}

// Appeared has what waits in the mailbox for r's id go where it has come.
func (r *Recipient) Appeared() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isRemoteLocked() {
		r.forward = forwardAll // what comes back from there is not for the mailbox either
		r.cursor.wakeLocked()
	}
}
