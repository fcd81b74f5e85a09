package outbox

import (
	"container/list"
	"slices"
	"sync"
	"time"
)

// A mailbox orders what waits for ids that are away by age. The chunks, one a
// message, stay in the queues of their boxes.
type mailbox struct {
	group *Group

	mu      sync.Mutex // a leaf
	entries list.List  // of entry, oldest first
	bytes   int
	timer   *time.Timer
}

// An entry is a message that waits for an id which is away.
type entry struct {
	box     *Box
	expires time.Time
}

func (m *mailbox) on() bool { return m.group.MailboxTTL > 0 && !m.group.closed.Load() }

// abandonLocked has what waits go to the mailbox, or reports it with reason.
func (b *Box) abandonLocked(reason error) {
	if b.group.mailbox.on() {
		b.toMailboxLocked(ErrExpired)
		return
	}
	for _, c := range b.queue {
		b.group.mailbox.remove(c)
		b.failLocked(c, reason)
	}
	b.queue = nil
}

// toMailboxLocked puts what of b's queue is not in the mailbox into it, a message
// an entry; others may do so between two. What is too large for it is reported with large.
func (b *Box) toMailboxLocked(large error) {
	m, all := &b.group.mailbox, b.queue
	b.queue = nil
	b.addRemoteBytes(-b.remoteBytes)
	for _, c := range all {
		for c.entry == nil && c.messages > 1 {
			m.put(b, c.pop(b.group.Newline), large)
		}
		m.put(b, c, large)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.scheduleLocked()
}

// keptLocked tells who waits for the outcome of a message in c that it is kept, and
// that its outcome is the hook's.
func (b *Box) keptLocked(c *chunk) {
	for _, r := range c.receipts {
		if tell := r.decide(ErrKept); tell != nil {
			tell()
		}
	}
	b.count -= len(c.receipts) * receiptCost
	c.receipts = nil
}

// takes reports whether the mailbox could hold a message of n bytes for b.
func (m *mailbox) takes(b *Box, n int) bool { return n+b.idCost() <= m.group.MailboxBytes }

// put puts c, of one message, into b's queue, which is locked, and the mailbox; but
// what came from elsewhere goes back there, and for one that is too large none of the
// others is to give way: it is reported with large. The caller trims the mailbox then.
func (m *mailbox) put(b *Box, c *chunk, large error) {
	switch {
	case len(c.receipts) > 0 && c.receipts[0].here:
		b.failLocked(c, ErrMoved)
		return
	case !m.takes(b, c.payload):
		b.failLocked(c, large)
		return
	case c.entry == nil:
		b.keptLocked(c)
		c.fit()
		m.mu.Lock()
		c.entry = m.entries.PushBack(entry{b, time.Now().Add(m.group.MailboxTTL)})
		m.bytes += c.payload + b.idCost()
		m.mu.Unlock()
		b.mail.messages++
		b.mail.bytes += c.payload
	}
	b.queue = append(b.queue, c)
}

// remove takes c out of the mailbox; its box is locked.
func (m *mailbox) remove(c *chunk) {
	if c.entry == nil {
		return
	}
	b := c.entry.Value.(entry).box
	b.mail.messages--
	b.mail.bytes -= c.payload
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes -= c.payload + b.idCost()
	m.entries.Remove(c.entry)
	c.entry = nil
}

// tallied is so many messages, of so many bytes together.
type tallied struct{ messages, bytes int }

// idCost is what an entry for b takes beside its payload, where that is a lot.
func (b *Box) idCost() int { return max(0, len(b.ID)-128) }

// scheduleLocked sets the timer to when the oldest entry is to give way.
func (m *mailbox) scheduleLocked() {
	if m.timer != nil {
		m.timer.Stop()
	}
	if oldest := m.entries.Front(); oldest != nil {
		m.timer = time.AfterFunc(m.keepLocked(oldest), m.trim)
	}
}

// keepLocked returns how long the oldest entry may stay. The bound on their
// number keeps the overhead of tiny messages in proportion.
func (m *mailbox) keepLocked(oldest *list.Element) time.Duration {
	limit := m.group.MailboxBytes
	if m.bytes > limit || m.entries.Len() > limit/16+1024 || !m.on() {
		return 0
	}
	return time.Until(oldest.Value.(entry).expires)
}

// trim gives up the oldest entries until the rest is young and small enough. It
// must not be called under a box's lock.
func (m *mailbox) trim() {
	for {
		m.mu.Lock()
		oldest := m.entries.Front()
		if oldest == nil || m.keepLocked(oldest) > 0 {
			m.scheduleLocked()
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		oldest.Value.(entry).box.expire(oldest)
	}
}

// due reports whether oldest is the oldest entry still, and is to give way.
func (m *mailbox) due(oldest *list.Element) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries.Front() == oldest && m.keepLocked(oldest) <= 0
}

// expire reports b's oldest entry if oldest, which is b's, is still due; if it is on
// its way elsewhere, then when it comes back.
func (b *Box) expire(oldest *list.Element) {
	b.mu.Lock()
	b.expireLocked(oldest)
	b.mu.Unlock()
	b.group.retire(b)
}

func (b *Box) expireLocked(oldest *list.Element) {
	if !b.group.mailbox.due(oldest) {
		return
	}
	w := b.flight
	if w != nil {
		if i := slices.IndexFunc(w.batch, func(c *chunk) bool { return c.entry == oldest }); i >= 0 {
			b.group.mailbox.remove(w.batch[i])
			w.batch[i].late = true
			return
		}
	}
	if i := slices.IndexFunc(b.queue, func(c *chunk) bool { return c.entry != nil }); i >= 0 {
		c, reason := b.queue.take(i), ErrExpired
		if b.group.closed.Load() {
			reason = ErrClosed
		}
		b.group.mailbox.remove(c)
		if w != nil && w.batch != nil { // after what is on its way
			w.behind = append(w.behind, left{queue{c}, reason})
		} else {
			b.failLocked(c, reason)
		}
	}
}
