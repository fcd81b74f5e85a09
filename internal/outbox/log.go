package outbox

import (
	"slices"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// A Log has the messages that wait for one id, oldest first, in three parts:
//
//	pinned | given up | waiting
//
// Pinned chunks are being written, or are on their way to another process: their bytes do not
// change until they are settled or given up. Chunks that were given up behind them already have a
// reason. They are reported when the write before them has ended. The rest waits. The zero Log is
// empty.
type Log struct {
	chunks  []*Chunk
	pinned  int32
	givenUp int32
	spare   *Chunk // for the next message; see Unpin

	// Of all messages that have no outcome yet; Bytes are payload.
	Bytes, Messages, Receipts int
}

// Empty reports whether nothing is left of l.
func (l *Log) Empty() bool { return len(l.chunks) == 0 }

// Waits reports whether a message waits.
func (l *Log) Waits() bool { return len(l.waiting()) > 0 }

func (l *Log) waiting() []*Chunk { return l.chunks[l.pinned+l.givenUp:] }

// Append appends a message. While the last chunk is small, its buffer is replaced by a larger
// one, so that a short log leaves in one write. A tight chunk has none of the pooled sizes,
// because it may wait for a long time. Append returns the chunk if it has begun a new one, and
// nil otherwise.
func (l *Log) Append(m *Message, f Format, tight bool) (begun *Chunk) {
	l.Bytes += len(m.Data)
	l.Messages++
	l.Receipts += m.Receipts()
	n := len(m.Data) + frame.Overhead
	var last *Chunk
	if w := l.waiting(); len(w) > 0 {
		last = w[len(w)-1]
		if len(last.buf)+n > cap(last.buf) {
			last.compact()
		}
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
func (l *Log) begin(n int, tight bool) (c *Chunk) {
	switch {
	case tight:
		c = &Chunk{buf: make([]byte, 0, n)}
	case l.spare != nil && n <= cap(l.spare.buf):
		c, l.spare = l.spare, nil
	default:
		c = newChunk(n)
	}
	l.chunks = append(l.chunks, c)
	return c
}

func (c *Chunk) grow(n int, tight bool) {
	if tight {
		c.buf = append(make([]byte, 0, n), c.buf...)
		return
	}
	larger := newChunk(n)
	c.buf, larger.buf = append(larger.buf, c.buf...), c.buf
	larger.Free()
}

// Pin pins the first waiting chunk, or only the first message of that chunk, and returns it.
// Nothing may be given up before it.
func (l *Log) Pin(alone bool) *Chunk {
	if c := l.waiting()[0]; alone && c.Messages > 1 {
		l.chunks = slices.Insert(l.chunks, int(l.pinned), c.First())
	}
	l.pinned++
	return l.chunks[l.pinned-1]
}

// Unpin ends what Pin has begun: the messages that are left wait again. Chunks that were given up
// behind them must have been reported. If keep is true, a small empty chunk becomes the spare of
// a busy id: a chunk from newChunk's pools, on another processor, costs a quarter of an Add.
func (l *Log) Unpin(keep bool) {
	l.pinned = 0
	for len(l.chunks) > 0 && l.chunks[0].Messages == 0 {
		c := l.take(0)
		if keep && cap(c.buf) <= 4<<10 {
			l.FreeSpare() // it may have no room
			*c = Chunk{buf: c.buf[:0]}
			l.spare = c
		} else {
			c.Free()
		}
	}
}

// FreeSpare frees the spare.
func (l *Log) FreeSpare() {
	if l.spare != nil {
		l.spare.Free()
		l.spare = nil
	}
}

// take removes and returns a chunk, mostly the first.
func (l *Log) take(i int) *Chunk {
	c := l.chunks[i]
	if i == 0 && len(l.chunks) > 16 {
		l.chunks[0] = nil
		l.chunks = l.chunks[1:]
	} else {
		l.chunks = slices.Delete(l.chunks, i, i+1)
	}
	return c
}

// Settled subtracts messages that have left l and have an outcome now.
func (l *Log) Settled(messages, receipts, payload int) {
	l.Bytes -= payload
	l.Messages -= messages
	l.Receipts -= receipts
}

// FirstPinned removes the first message that is pinned, in a chunk of its own.
func (l *Log) FirstPinned() *Chunk {
	i := 0
	for l.chunks[i].Messages == 0 {
		i++
	}
	return l.chunks[i].First()
}

// Pinned reports whether a write or a batch is under way.
func (l *Log) Pinned() bool { return l.pinned > 0 }

// Abandon removes the pinned chunks, whose bytes may be in use still, and returns copies.
func (l *Log) Abandon() (copies []*Chunk) {
	for range l.pinned {
		copies = append(copies, l.take(0).unread())
	}
	l.pinned = 0
	return copies
}

// GiveUp gives up all waiting messages, for reason.
func (l *Log) GiveUp(reason error) {
	for _, c := range l.waiting() {
		c.Reason = reason
		l.givenUp++
	}
}

// GiveUpFirst gives up a message that First has removed, for reason.
func (l *Log) GiveUpFirst(c *Chunk, reason error) {
	c.Reason = reason
	l.chunks = slices.Insert(l.chunks, int(l.pinned+l.givenUp), c)
	l.givenUp++
}

// NextGivenUp removes and returns the first chunk that was given up, nil if none was.
func (l *Log) NextGivenUp() *Chunk {
	if l.givenUp == 0 {
		return nil
	}
	l.givenUp--
	return l.take(int(l.pinned))
}

// First removes the first message that waits, in a chunk of its own.
func (l *Log) First() *Chunk {
	c := l.waiting()[0]
	first := c.First()
	if c.Messages == 0 {
		l.take(int(l.pinned + l.givenUp)).Free()
	} else if c.compact(); c.off == 0 {
		c.Fit()
	}
	return first
}

// Waiting returns how many messages wait, how many receipts they have, and their payload.
func (l *Log) Waiting() (messages, receipts, bytes int) {
	for _, c := range l.waiting() {
		messages += c.Messages
		receipts += len(c.receipts)
		bytes += c.Payload
	}
	return messages, receipts, bytes
}

// Sift asks judge about each waiting message, and removes those for which judge has a reason,
// each in a chunk of its own for fail. It asks only if a message has a receipt, or may have more
// than most bytes. It frees memory that the rest does not need.
func (l *Log) Sift(f Format, most int, judge func(m *Message) error, fail func(c *Chunk, reason error)) {
	special := func(c *Chunk) bool { return c.Receipts() > 0 || c.Payload > most }
	if !slices.ContainsFunc(l.waiting(), special) {
		for _, c := range l.waiting() {
			c.Fit()
		}
		return
	}
	all := slices.Clone(l.waiting())
	l.chunks = l.chunks[:l.pinned+l.givenUp]
	for _, c := range all {
		for c.Messages > 0 {
			m := c.Next()
			receipts, reason := m.Receipts(), judge(&m)
			if reason != nil {
				fail(Single(&m, f), reason)
				continue
			}
			l.Settled(1, receipts, len(m.Data))
			l.Append(&m, f, true)
		}
		c.Free()
	}
}
