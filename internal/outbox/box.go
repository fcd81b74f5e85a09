package outbox

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool/internal/transport"
)

// A Box is one id: its connection, while it has one, and what waits for it.
// What waits belongs to the id, so it outlives each of its connections.
type Box struct {
	ID    string
	Index int // the registry's, under its lock
	group *Group
	next  *Box // the one behind in the ready queue; group.mu

	mu          sync.Mutex
	link        *transport.Link // nil while id is away
	queue       queue           // what waits, but for what a flight carries
	spare       *chunk          // for the next message; nil if there is none
	flight      *writer         // whose write is under way
	held        int             // bytes of payload in queue and flight
	mail        tallied         // of that, what is in the mailbox
	remoteBytes int             // b's share of group.remoteBytes
	count       int             // messages there, and what their receipts cost
	room        chan struct{}   // closed when something leaves; nil while nobody waits
	owners      owners          // who added this connection, and those before
	idle        time.Duration   // the group's clock when a write was last noticed
	heard       time.Duration   // and when the peer was last heard
	since       time.Duration   // and when link was attached

	control byte // the opcode of a control frame that is due, 0 if none is

	chunks  uint8      // how many there were, for sampled
	busy    bool       // in the ready queue, or with a writer
	active  bool       // written to since the last beat
	goodbye bool       // the close frame of Shutdown is out, or due
	asking  bool       // whether the handler has returned
	forward forwarding // what is to be forwarded while id is away
	dead    bool       // out of the registry; look the id up again
}

// NewBox returns a Box for id, with no connection.
func NewBox(g *Group, id string, p *Past) *Box {
	id = strings.Clone(id) // it may be a part of a long URL, which would stay with it
	return &Box{ID: id, group: g, chunks: uint8(rand.Uint32()), owners: p.take(id)}
}

// Push accepts m. It waits for room while the peer reads, until ctx or the
// group ends. It reports false, and does nothing, if b is dead.
func (b *Box) Push(ctx context.Context, m *Message) (bool, error) {
	for {
		b.mu.Lock()
		wait, err := b.tryLocked(m)
		if wait <= 0 {
			away, empty := b.link == nil, len(b.queue) == 0
			inline := b.inlineLocked()
			b.mu.Unlock()
			switch {
			case err == errDead:
				return false, nil
			case inline != nil:
				inline.once()
			case away && empty:
				b.group.retire(b)
			case away:
				b.group.mailbox.trim()
			}
			return true, err
		}
		if b.room == nil {
			b.room = make(chan struct{})
		}
		room := b.room
		b.mu.Unlock()
		select {
		case <-room:
		case <-time.After(wait):
		case <-ctx.Done():
			return true, ctx.Err()
		case <-b.group.done:
			return true, ErrClosed
		}
	}
}

// tryLocked accepts m, unless it is refused, or has to wait for room first.
func (b *Box) tryLocked(m *Message) (wait time.Duration, err error) {
	switch {
	case b.group.closed.Load():
		return 0, ErrClosed
	case m.Here && m.ID != "" && (b.link == nil || b.flight != nil && b.flight.link == nil):
		return 0, ErrMoved
	case b.dead:
		return 0, errDead
	case len(m.Data) > b.group.Outbox: // elsewhere it was not
		return 0, ErrTooLarge
	}
	bounded := b.group.Begun() // asked once: Start may come in between, and m has not waited for room then
	if wait = b.waitLocked(m, bounded); wait <= 0 {
		b.acceptLocked(m, bounded)
	}
	return wait, nil
}

// fitsLocked reports whether n bytes more may wait. The bound on messages
// keeps the frames of tiny ones from taking more than their payload may. The mailbox
// has bounds of its own.
func (b *Box) fitsLocked(n int) bool {
	return b.group.fits(b.held-b.mail.bytes+n, b.count-b.mail.messages)
}

// fits reports whether so many bytes may wait for one id, in so many messages.
func (g *Group) fits(bytes, messages int) bool {
	return bytes <= g.Outbox && messages <= g.Outbox/4+1024
}

// waitLocked returns how long m may wait for room: not at all if there is
// some, or if the peer has taken nothing for a while. Before Start WithBuffer bounds
// what is added here, but not what comes from elsewhere for one id.
func (b *Box) waitLocked(m *Message, bounded bool) time.Duration {
	if !bounded && (!m.Here || m.ID == "") {
		return 0
	}
	if b.congestedLocked(m) {
		return time.Millisecond
	}
	if b.link == nil || b.fitsLocked(len(m.Data)) {
		return 0
	}
	w := b.flight
	if w == nil || w.link != b.link || w.since.IsZero() {
		return patience
	}
	if rest := patience - time.Since(w.since); rest > 0 {
		return rest
	}
	b.lookLocked(w)
	return patience - time.Since(w.since)
}

// acceptLocked takes m in, whatever becomes of it. The caller wakes b then.
func (b *Box) acceptLocked(m *Message, bounded bool) {
	g, n := b.group, len(m.Data)
	if b.link == nil && m.ID == "" {
		return // a broadcast is for those who are here
	}
	g.Accept(m)
	fits := b.link == nil || !bounded || b.fitsLocked(n) || b.dropLocked(n)
	switch {
	case b.isRemoteLocked():
		b.pushLocked(m)
		b.addRemoteBytes(n + remoteCost)
		b.forward = max(b.forward, forwardFirst)
	case b.undecidedLocked():
		b.pushLocked(m)
	case b.link == nil && g.mailbox.on() && g.mailbox.takes(b, n):
		g.mailbox.put(b, single(m, g.Newline), ErrNotConnected)
	case b.link == nil:
		g.refuse(b.ID, m, ErrNotConnected)
		return
	case fits || g.Overflow == Disconnect:
		b.pushLocked(m)
	default:
		g.refuse(b.ID, m, ErrSlow)
		return
	}
	b.held += n
	b.count++
	if m.Receipt != nil {
		b.count += receiptCost
	}
	if !fits {
		b.removeLocked(ErrSlow, transport.Status{})
	}
}

// wakeLocked has a writer come if there is something to write.
func (b *Box) wakeLocked() {
	if !b.busy && b.dueLocked() {
		b.busy = true
		b.group.enqueue(b)
	}
}

// inlineLocked is wakeLocked for a caller that can write by itself: it may return
// a writer for that, which carries the first chunk.
func (b *Box) inlineLocked() *writer {
	if b.busy || b.link == nil || !b.link.Tries() || len(b.queue) == 0 {
		b.wakeLocked()
		return nil
	}
	b.busy = true
	w := b.group.inline(b)
	if w != nil {
		b.takeLocked(w)
	}
	return w
}

// dueLocked reports whether there is something to write.
func (b *Box) dueLocked() bool {
	switch {
	case b.link != nil:
		return len(b.queue) > 0 || b.control != 0
	case b.flight != nil || len(b.queue) == 0:
		return false
	case b.isRemoteLocked() && b.queue[0].entry != nil:
		return b.forward != forwardNone
	case b.isRemoteLocked(): // also what has waited for Start since before there was a remote
		return true
	}
	return b.undecidedLocked()
}

// undecidedLocked reports whether what comes for b, which is away, stays until its turn
// comes: before Start, and behind what was added then.
func (b *Box) undecidedLocked() bool {
	if b.link != nil || len(b.queue) > 0 && b.queue[0].entry != nil {
		return false
	}
	return !b.group.Begun() || len(b.queue) > 0 && b.flight == nil
}

// releaseLocked makes room for what has left b.
func (b *Box) releaseLocked(messages, payload, receipts int) {
	b.count -= messages + receipts*receiptCost
	b.held -= payload
	b.addRemoteBytes(-payload - messages*remoteCost)
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
}

// doneLocked counts the first message of a chunk that was b's.
func (b *Box) doneLocked(c *chunk, as *tally) {
	m := c.next(b.group.Newline)
	as.add(1, len(m.Data))
	b.releaseLocked(1, len(m.Data), m.receipts())
	if tell := m.Receipt.decide(nil); tell != nil {
		tell()
	}
}

// failLocked reports a chunk that was b's as undelivered.
func (b *Box) failLocked(c *chunk, err error) {
	b.releaseLocked(c.messages, c.payload, len(c.receipts))
	b.group.report.undelivered(b.ID, c, err)
}
