package outbox

import (
	"bytes"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// giveUpLocked reports what w carries and may not have got rid of, and goes on
// without it.
func (b *Box) giveUpLocked(w *writer, reason error) {
	b.flight, b.busy = nil, false
	if w.chunk != nil {
		w.batch = queue{w.chunk}
	}
	for _, c := range w.batch {
		b.group.mailbox.remove(c)
		unread := *c
		unread.buf = bytes.Clone(c.buf) // the write may be reading c.buf still
		b.writtenLocked(&unread, c.off+int(w.went.Load()))
		unread.cut = true
		b.failLocked(&unread, reason)
	}
	b.behindLocked(w)
	b.wakeLocked()
}

// land settles the write that turn began: chunk.buf[:n] went, and err is its Failure.
func (b *Box) land(w *writer, n int, err error) (more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flight != w { // given up, and settled then
		return false
	}
	b.flight = nil
	if w.timer != nil {
		w.timer.Stop()
	}
	failed := err != nil && w.link == b.link
	if failed {
		w.reason = err
	}
	if c := w.chunk; c != nil && c.born > 0 && err == nil {
		b.group.observe(b.group.Now() - c.born)
	}
	switch c := w.chunk; {
	case c == nil:
	case n == len(c.buf) && c.receipts == nil:
		b.releaseLocked(c.messages, c.payload, 0)
		b.group.written.add(c.messages, c.payload)
		b.freeLocked(c)
	default:
		b.settleLocked(w, n)
	}
	b.behindLocked(w)
	switch link, status := w.link, w.status; {
	case failed:
		b.removeLocked(w.reason, transport.StatusGoingAway)
	case link != b.link && !w.closed:
		b.group.closeLink(link, status)
	}
	b.active = true
	b.busy = b.dueLocked()
	return b.busy
}

// settleLocked gives each message of w's chunk its outcome, or its place at
// the front of the queue if another connection follows. A message that was cut
// is undelivered, for its peer cannot have it whole.
func (b *Box) settleLocked(w *writer, n int) {
	c, g := w.chunk, b.group
	b.writtenLocked(c, n)
	if c.messages > 0 && c.off < n {
		half := c.pop(g.Newline)
		half.cut = true
		b.failLocked(half, w.why())
	}
	switch {
	case c.messages == 0:
		c.free()
	case w.reason == nil, w.reason == ErrMoved && g.remote.Load() != nil,
		g.mailbox.on() && (b.link != nil || b.forward == forwardAll && g.remote.Load() != nil):
		if b.link == nil {
			b.forward = forwardAll
		}
		b.queue = append(queue{c}, b.queue...)
		b.requeueLocked()
	case g.mailbox.on():
		b.queue = append(queue{c}, b.queue...)
		b.toMailboxLocked(ErrExpired)
	default:
		b.failLocked(c, w.reason)
	}
}

// writtenLocked removes the messages that end by n from c, for they were written.
func (b *Box) writtenLocked(c *chunk, n int) {
	for c.messages > 0 {
		if _, end := frame.Bounds(c.buf[c.off:]); c.off+end > n {
			return
		}
		b.doneLocked(c, &b.group.written)
	}
}

// behindLocked reports what waited behind w's chunk.
func (b *Box) behindLocked(w *writer) {
	for _, l := range w.behind {
		for _, c := range l.queue {
			b.failLocked(c, l.reason)
		}
	}
}
