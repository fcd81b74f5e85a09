package outbox

import (
	"bytes"
	"context"

	"github.com/nulijiabei/gcpool/internal/transport"
)

// A Remote is what package gcpool documents as Cluster.
type Remote interface {
	Changed(pool, id string)
	Forward(pool, id string, batch [][]byte, done func(errs []error))
	Broadcast(pool string, data []byte) error
}

// ErrMoved is why a connection is removed whose id is connected elsewhere now.
var ErrMoved error = reason("gcpool: connected elsewhere")

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

// SetRemote sets what carries messages elsewhere; nil is nobody. Boxes that
// wait for it must then be given to WithoutRemote.
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
	g.spawn(func() { sent <- r.Broadcast(g.Pool, data) })
	return func(ctx context.Context) error {
		select {
		case err := <-sent:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-g.over.Done():
			return ErrClosed
		}
	}
}

// isRemoteLocked reports whether what comes for b goes elsewhere.
func (b *Box) isRemoteLocked() bool {
	return b.link == nil && b.group.remote.Load() != nil
}

// forwarding is what the remote is to be given of an id that is away. Each batch begins
// at forwardNone again.
//
//	none -> first   a message comes
//	any  -> all     the id has appeared, has moved, or has taken a batch
//	any  -> none    a batch leaves; the id is connected here; there is no remote any more
type forwarding uint8

const (
	forwardNone  forwarding = iota // nobody had the id, and nothing has come since
	forwardFirst                   // the first message, to learn whether anybody has the id
	forwardAll                     // everything: the id is known to be elsewhere
)

// addRemoteBytes counts n bytes more, or fewer, that are on their way elsewhere.
func (b *Box) addRemoteBytes(n int) {
	if n = max(n, -b.remoteBytes); n != 0 {
		b.remoteBytes += n
		b.group.remoteBytes.Add(int64(n))
	}
}

// congestedLocked reports whether m must wait before it may go elsewhere. A broadcast
// goes to nobody who is away. The same holds behind what waits to be decided since before
// Start.
func (b *Box) congestedLocked(m *Message) bool {
	g, remote := b.group, b.isRemoteLocked()
	return m.ID != "" && (remote || b.undecidedLocked()) &&
		(!b.fitsLocked(len(m.Data)) || remote && g.remoteBytes.Load()/remoteShare > int64(g.Outbox))
}

// forwardLocked has w hand a batch to the remote, as a flight without a link, and
// unlocks b. One at a time keeps the order, and what gathers meanwhile goes together.
// While nobody is known to have the id, the first message in the mailbox goes alone:
// each push to a user who is away would carry all his mail else.
func (b *Box) forwardLocked(w *writer) {
	r := b.group.Remote()
	if r == nil { // what was added before Start, or there is no remote any more
		b.busy = false
		if b.group.mailbox.on() {
			b.toMailboxLocked(ErrNotConnected) // as where Add decides
		} else {
			b.abandonLocked(ErrNotConnected)
		}
		b.mu.Unlock()
		b.group.retire(b)
		return
	}
	flown := &writer{group: b.group, box: b}
	first := b.forward == forwardFirst && b.queue[0].entry != nil
	var batch [][]byte
	for size := 0; len(b.queue) > 0; {
		c := *b.queue[0]
		if size += len(c.buf); batch != nil && (first || size > transport.Piece) {
			break
		}
		flown.batch = append(flown.batch, b.queue.take(0))
		for c.messages > 0 {
			m := c.next(b.group.Newline)
			batch = append(batch, m.Data)
		}
	}
	b.flight, b.forward = flown, forwardNone
	b.mu.Unlock()
	w.steps.Add(1)
	r.Forward(b.group.Pool, b.ID, batch, func(errs []error) { b.returned(flown, errs) })
	w.steps.Add(1)
}

// returned settles a flight of forwardLocked. What was certainly not delivered
// stays if its id has moved on, or is connected here by now, or if it can wait.
func (b *Box) returned(w *writer, errs []error) {
	asked := make([]error, len(errs))
	for i, err := range errs {
		asked[i] = ask(err)
	}
	b.mu.Lock()
	g := b.group
	if b.flight != w { // given up, or returned twice
		b.mu.Unlock()
		return
	}
	b.flight = nil
	var kept queue
	mail := w.batch[0].entry != nil || w.batch[0].late
	i, nobody, taken := 0, false, false
	for _, c := range w.batch {
		for ; c.messages > 0; i++ {
			var err error
			if i < len(asked) {
				err = asked[i]
			}
			moved := err == ErrMoved && g.remote.Load() != nil
			if moved || class(err) == class(ErrNotConnected) && (b.link != nil || g.mailbox.on()) {
				if nobody = true; moved {
					b.forward = forwardAll
				}
				if !c.late {
					kept = append(kept, c.pop(g.Newline))
					continue
				}
				err = ErrExpired
			}
			g.mailbox.remove(c)
			if err == nil {
				taken = true
				b.doneLocked(c, &g.forwarded)
			} else {
				b.failLocked(c.pop(g.Newline), err)
			}
		}
	}
	b.queue = append(kept, b.queue...)
	switch {
	case b.link != nil || b.forward == forwardAll && g.remote.Load() != nil:
		b.requeueLocked()
	case taken && !nobody: // whoever took these takes the rest
		b.forward = forwardAll
	case nobody || mail && g.mailbox.on():
		b.toMailboxLocked(ErrExpired) // what came meanwhile has set forwardFirst
	default:
		b.forward = forwardFirst
	}
	b.behindLocked(w)
	b.busy = false
	b.wakeLocked()
	b.mu.Unlock()
	g.retire(b)
}

// WithoutRemote has b do without a remote: what waits for one goes to the mailbox, or
// is reported with reason, unless it waits for Start all the same. With over, what is
// under way there is as well.
func (b *Box) WithoutRemote(reason error, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.flight; over && w != nil && w.link == nil {
		b.giveUpLocked(w, reason)
	}
	if b.link == nil {
		b.forward = forwardNone
		if b.group.Begun() || !b.undecidedLocked() {
			b.abandonLocked(reason)
		}
	}
}

// Appeared has what waits in the mailbox for b's id go where it has come.
func (b *Box) Appeared() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.link != nil || b.group.remote.Load() == nil {
		return
	}
	b.forward = forwardAll // what comes back from a flight is not for the mailbox either
	b.wakeLocked()
}
