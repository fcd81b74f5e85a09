package outbox

import (
	"bytes"
	"slices"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// A Log holds the messages that wait for one id, oldest first. The first chunk may be pinned: it
// is being written, or is on its way to another process, and its bytes do not change until it is
// settled or given up. The zero Log is empty.
type Log struct {
	pinned *Chunk   // nil if none is
	chunks []*Chunk // the chunks that wait, behind pinned
	spare  *Chunk   // for the next message; see Unpin

	Count // of all messages that have no outcome yet
}

// Empty reports whether l has no messages left.
func (l *Log) Empty() bool { return l.pinned == nil && len(l.chunks) == 0 }

// Waits reports whether a message waits.
func (l *Log) Waits() bool { return len(l.chunks) > 0 }

// Append appends a message. While the last chunk is small, Append replaces its buffer with a
// larger one, so that a short log leaves in one write. tight says that the message may wait for a
// long time, so its buffer gets no spare room. Append returns the chunk if it has begun a new
// one, and nil otherwise.
func (l *Log) Append(m *Message, f Format, tight bool) (begun *Chunk) {
	l.Count = l.Count.Plus(m.Count())
	n := len(m.Data) + frame.Overhead
	var last *Chunk
	if l.Waits() {
		last = l.chunks[len(l.chunks)-1]
	}
	if last == nil || len(last.buf)+n > max(cap(last.buf), Piece) {
		last = l.begin(n, tight)
		begun = last
	} else if size := len(last.buf) + n; size > cap(last.buf) {
		last.grow(max(size, min(2*cap(last.buf), Piece)), tight)
	}
	last.add(m, f)
	return begun
}

// begin appends an empty chunk for n bytes.
func (l *Log) begin(n int, tight bool) *Chunk {
	c := l.spare
	if c != nil && !tight && n <= cap(c.buf) {
		l.spare = nil
	} else {
		c = newChunk(n, tight)
	}
	l.chunks = append(l.chunks, c)
	return c
}

func (c *Chunk) grow(n int, tight bool) {
	larger := newChunk(n, tight)
	c.buf, larger.buf = append(larger.buf, c.buf...), c.buf
	larger.Free()
}

// Pin pins the first waiting chunk, or only the first message of that chunk, and returns it.
// Nothing may be pinned already, and no lost message may wait to be reported.
func (l *Log) Pin(alone bool) *Chunk {
	if c := l.chunks[0]; alone && c.Messages > 1 {
		l.pinned = c.First()
	} else {
		l.pinned = l.take()
	}
	return l.pinned
}

// Unpin ends what Pin has begun: the messages that are left wait again. If keep is true, which is
// for a busy id, a small empty chunk becomes the spare. A chunk from newChunk's pools, last used
// on another processor, would cost a quarter of an Add.
func (l *Log) Unpin(keep bool) {
	c := l.pinned
	l.pinned = nil
	switch {
	case c.Messages > 0:
		l.chunks = slices.Insert(l.chunks, 0, c)
	case keep && cap(c.buf) <= 4<<10:
		l.FreeSpare() // the old spare may have been too small
		*c = Chunk{buf: c.buf[:0]}
		l.spare = c
	default:
		c.Free()
	}
}

// FreeSpare frees the spare.
func (l *Log) FreeSpare() {
	if l.spare != nil {
		l.spare.Free()
		l.spare = nil
	}
}

// take removes and returns the first chunk that waits.
func (l *Log) take() *Chunk {
	c := l.chunks[0]
	if len(l.chunks) > 16 {
		l.chunks[0] = nil
		l.chunks = l.chunks[1:]
	} else {
		l.chunks = slices.Delete(l.chunks, 0, 1)
	}
	return c
}

// Settled subtracts messages that have left l and have an outcome now.
func (l *Log) Settled(n Count) { l.Count = l.Count.Minus(n) }

// Pinned reports whether a write or a batch is under way.
func (l *Log) Pinned() bool { return l.pinned != nil }

// Abandon removes the pinned chunk, and returns a copy, or nil if none is pinned. A write that
// has not returned may still read the bytes of the original.
func (l *Log) Abandon() *Chunk {
	if l.pinned == nil {
		return nil
	}
	c := *l.pinned
	c.buf, l.pinned = bytes.Clone(c.buf), nil
	return &c
}

// Take removes and returns all chunks that wait.
func (l *Log) Take() []*Chunk {
	all := l.chunks
	l.chunks = nil
	return all
}

// First removes the first message that waits, and returns it in a chunk of its own.
func (l *Log) First() *Chunk {
	c := l.chunks[0]
	first := c.First()
	if c.Messages == 0 {
		l.take().Free()
	} else if c.off > len(c.Frames()) { // more has gone than is left
		c.Fit()
	}
	return first
}

// Waiting counts the messages that wait.
func (l *Log) Waiting() (n Count) {
	for _, c := range l.chunks {
		n = n.Plus(c.Count)
	}
	return n
}

// Sift removes each waiting message for which judge returns a reason, and gives it to fail in a
// chunk of its own. It asks judge only about chunks in which a message has a receipt, or may have
// more than most bytes. It also frees memory that the remaining messages do not need.
func (l *Log) Sift(most int, judge func(m *Message) error, fail func(c *Chunk, reason error)) {
	for _, c := range l.Take() {
		if c.Receipts == 0 && c.Bytes <= most {
			c.Fit()
			l.chunks = append(l.chunks, c)
			continue
		}
		for c.Messages > 0 {
			m := c.Next()
			n, reason := m.Count(), judge(&m)
			if reason != nil {
				fail(Single(&m, c.format), reason)
				continue
			}
			l.Settled(n)
			l.Append(&m, c.format, true)
		}
		c.Free()
	}
}
