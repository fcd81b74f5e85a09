package delivery

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// A Recipient is one id: the log of what waits for it, and the cursor of its connection,
// while it has one. The log belongs to the id, so it outlives each of its connections.
//
// Methods with Locked in their names, and those of cursor, flight, backlog, mail and
// forwarder, expect that mu is locked. These lock it: cursor.Serve, Stalled and judge;
// flight.once, write, progress and land; mail.Expire; forwarder.returned.
type Recipient struct {
	Index int // the registry's, under its lock

	mu sync.Mutex
	backlog
	cursor cursor
	owners owners.List // who added this connection, and those before
	active bool        // written to since the last beat
	dead   bool        // out of the registry; look the id up again
}

// NewRecipient returns a Recipient for id, with no connection. The owners are those of its
// last connections.
func NewRecipient(g *Group, id string, o owners.List) *Recipient {
	id = strings.Clone(id) // it may be a part of a long URL, which would stay with it
	r := &Recipient{backlog: backlog{ID: id, group: g, log: outbox.NewLog(g.format)}, owners: o}
	r.cursor.recipient = r
	return r
}

// Push accepts m. It waits for room while the peer reads, until ctx or the group ends. It
// reports false, and does nothing, if r is dead.
func (r *Recipient) Push(ctx context.Context, m *outbox.Message) (bool, error) {
	for {
		r.mu.Lock()
		if r.dead {
			r.mu.Unlock()
			return false, nil
		}
		wait, err := r.tryLocked(m)
		if wait <= 0 {
			away, empty := r.cursor.conn == nil, r.log.Empty()
			inline := r.cursor.inline()
			r.mu.Unlock()
			switch {
			case inline != nil:
				inline.once()
			case away && empty:
				r.group.retire(r)
			case away:
				r.group.mailbox.Trim()
			}
			return true, err
		}
		if r.room == nil {
			r.room = make(chan struct{})
		}
		room := r.room
		r.mu.Unlock()
		select {
		case <-room:
		case <-time.After(wait):
		case <-ctx.Done():
			return true, ctx.Err()
		case <-r.group.done:
			return true, outcome.ErrClosed
		}
	}
}

// PushAll accepts a batch from elsewhere for r's connection, but does not wait. It returns
// how many messages it took, and why not the rest. done is given the outcomes of those, once
// all are known. None is written that is behind one with ErrMoved, hence the one lock.
func (r *Recipient) PushAll(batch [][]byte, done func(errs []error)) (taken int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := make([]error, len(batch))
	left := 1 // until all are in; r.mu
	settle := func() {
		if left--; left == 0 && taken > 0 {
			r.group.tasks.Go(func() { done(errs[:taken]) })
		}
	}
	defer settle()
	for i, data := range batch {
		m := outbox.Message{ID: r.ID, Data: data, Here: true, Receipt: &outbox.Receipt{Decide: func(err error) func() {
			errs[i] = err
			return settle
		}}}
		left++
		wait, err := r.tryLocked(&m)
		if wait > 0 {
			err = context.Canceled
		}
		if err != nil {
			left--
			return taken, err
		}
		taken++
		r.cursor.wake()
	}
	return taken, nil
}

// tryLocked accepts m, unless it is refused, or has to wait for room first.
func (r *Recipient) tryLocked(m *outbox.Message) (wait time.Duration, err error) {
	switch {
	case r.group.closed.Load():
		return 0, outcome.ErrClosed
	case m.Here && m.ID != "" && (r.cursor.conn == nil || r.cursor.travels()):
		return 0, outcome.ErrMoved
	case len(m.Data) > r.group.Outbox: // another process may allow more
		return 0, outcome.ErrTooLarge
	}
	bounded := r.group.Begun() // asked once: Start may come in between, and m has not waited for room then
	if wait = r.waitLocked(m, bounded); wait <= 0 {
		r.acceptLocked(m, bounded)
	}
	return wait, nil
}

// waitLocked returns how long m may wait for room.
//
//   - Before Start it does not wait, unless it comes from elsewhere for one id: WithBuffer
//     bounds the rest.
//   - For a connection it waits while the outbox is full and the peer takes something.
//   - For an id that is away it waits for room to be forwarded, and behind messages that
//     have waited since before Start.
func (r *Recipient) waitLocked(m *outbox.Message, bounded bool) time.Duration {
	fits, g, remote := r.fits(len(m.Data)), r.group, r.isRemoteLocked()
	switch {
	case !bounded && (!m.Here || m.ID == ""):
		return 0
	case r.cursor.conn != nil:
		if fits {
			return 0
		}
		return r.cursor.patience()
	case m.ID != "" && remote && (!fits || g.remoteBytes.Load()/remoteShare > int64(g.Outbox)),
		m.ID != "" && !fits && r.undecidedLocked():
		return time.Millisecond
	}
	return 0
}

// acceptLocked takes m in, whatever becomes of it. The caller wakes the cursor then.
func (r *Recipient) acceptLocked(m *outbox.Message, bounded bool) {
	g, n, away := r.group, len(m.Data), r.cursor.conn == nil
	if away && m.ID == "" {
		return // a broadcast is for those who are here
	}
	g.Accepted.Add(1, n)
	fits := away || !bounded || r.fits(n) || r.dropOldest(n)
	switch {
	case r.isRemoteLocked():
		r.append(m, away)
		r.forwarderLocked().accept(n)
	case r.undecidedLocked():
		r.append(m, away)
	case away && g.mailboxOn() && g.mailbox.Takes(n+r.idCost()):
		keep(m)
		r.append(m, away)
		r.mailLocked().add(1, m.Receipts(), n)
	case away:
		g.refuse(r.ID, m, outcome.ErrNotConnected)
	case fits || g.Overflow == Disconnect:
		r.append(m, away)
		if !fits {
			r.removeLocked(outcome.ErrSlow, transport.Status{})
		}
	default:
		g.refuse(r.ID, m, outcome.ErrSlow)
	}
}

// undecidedLocked reports whether what comes for r, which is away, stays until its turn
// comes: before Start, and behind what was added then.
func (r *Recipient) undecidedLocked() bool {
	if r.cursor.conn != nil || r.mail.messages() > 0 {
		return false
	}
	return !r.group.Begun() || r.log.Waits() && r.cursor.flight == nil
}
