package outbox

import (
	"container/list"
	"slices"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// Message is what a producer has for an id, or without one for every id.
type Message struct {
	ID      string
	Data    []byte
	Receipt Receipt // nil if nobody waits for the outcome
	Here    bool    // from elsewhere, for a connection here or for nobody
}

// A chunk holds messages back to back, each as the frame in which it leaves,
// so that what gathered while a connection stood in line is one write.
type chunk struct {
	buf      []byte // whole frames from off on
	off      int
	messages int
	payload  int // bytes, without headers and newlines
	receipts []receipt
	born     time.Duration // when it was begun, on the group's clock; mostly 0
	entry    *list.Element // its place in the mailbox, nil outside
	late     bool          // gave way there while it was on its way elsewhere
	cut      bool          // a part of it has left, or all: its peer may have that
}

// receipt is where in its chunk's buf the frame of a Receipt starts.
type receipt struct {
	at int
	Receipt
	here bool // its Message's
}

// sizes are the capacities of pooled chunks. A larger message gets a chunk of
// its own.
var (
	sizes = [...]int{256, 1 << 10, 4 << 10, 16 << 10, 32 << 10, transport.Piece}
	pools [len(sizes)]sync.Pool
)

// newChunk returns an empty chunk for at least n bytes.
func newChunk(n int) *chunk {
	for i, size := range sizes {
		if n <= size {
			if c, _ := pools[i].Get().(*chunk); c != nil {
				return c
			}
			n = size
			break
		}
	}
	return &chunk{buf: make([]byte, 0, n)}
}

// free gives c back. Nothing may refer to its bytes any more.
func (c *chunk) free() {
	if i := slices.Index(sizes[:], cap(c.buf)); i >= 0 {
		*c = chunk{buf: c.buf[:0]}
		pools[i].Put(c)
	}
}

// add appends a message, whose frame must fit.
func (c *chunk) add(op byte, m *Message, newline bool) {
	if m.Receipt != nil {
		c.receipts = append(c.receipts, receipt{len(c.buf), m.Receipt, m.Here})
	}
	c.buf = frame.Append(c.buf, op, m.Data, newline)
	c.messages++
	c.payload += len(m.Data)
}

// next removes and returns the first message, whose bytes stay c's.
func (c *chunk) next(newline bool) (m Message) {
	start, end := frame.Bounds(c.buf[c.off:])
	m.Data = c.buf[c.off+start : c.off+end]
	if newline {
		m.Data = m.Data[:len(m.Data)-1]
	}
	if len(c.receipts) > 0 && c.receipts[0].at == c.off {
		m.Receipt, m.Here = c.receipts[0].Receipt, c.receipts[0].here
		c.receipts = c.receipts[1:]
	}
	c.off += end
	c.messages--
	c.payload -= len(m.Data)
	return m
}

// pop removes the first message and returns it in a chunk of its own.
func (c *chunk) pop(newline bool) *chunk {
	if c.messages == 1 {
		one := *c
		*c = chunk{}
		return &one
	}
	m := c.next(newline)
	return single(&m, newline)
}

// compact moves what is left to the front, if it is no more than what has gone.
func (c *chunk) compact() {
	if c.off >= len(c.buf)-c.off {
		c.move(c.buf[:0])
	}
}

// fit gives c a buffer of about what it needs.
func (c *chunk) fit() {
	if n := len(c.buf) - c.off; cap(c.buf) > 2*n {
		c.move(make([]byte, 0, n))
	}
}

func (c *chunk) move(to []byte) {
	for i := range c.receipts {
		c.receipts[i].at -= c.off
	}
	c.buf, c.off = append(to, c.buf[c.off:]...), 0
}

// single returns a chunk with nothing but m, and no room for more.
func single(m *Message, newline bool) *chunk {
	c := &chunk{buf: make([]byte, 0, len(m.Data)+frame.Overhead)}
	c.add(frame.Text, m, newline)
	return c
}

// queue is what waits for one id, oldest first.
type queue []*chunk

// pushLocked appends a message. The last chunk moves to a larger one while it
// is small, so that a short queue is one piece, and so one write.
func (b *Box) pushLocked(m *Message) {
	n := len(m.Data) + frame.Overhead
	var last *chunk
	if len(b.queue) > 0 {
		last = b.queue[len(b.queue)-1]
	}
	if last != nil && last.entry != nil {
		last = nil
	}
	if last != nil && len(last.buf)+n > cap(last.buf) {
		last.compact()
	}
	if last == nil || len(last.buf)+n > max(cap(last.buf), transport.Piece) {
		if last = b.spare; last != nil && n <= cap(last.buf) {
			b.spare = nil
		} else {
			last = newChunk(n)
		}
		if b.chunks++; b.chunks%sampled == 0 {
			last.born = b.group.Now()
		}
		b.queue = append(b.queue, last)
	} else if size := len(last.buf) + n; size > cap(last.buf) {
		larger := newChunk(max(size, min(2*cap(last.buf), transport.Piece)))
		last.buf, larger.buf = append(larger.buf, last.buf...), last.buf
		larger.free()
	}
	op := frame.Text
	if b.link != nil {
		op = b.link.Opcode
	}
	last.add(op, m, b.group.Newline)
}

// dropLocked has the oldest messages give way to n bytes more, if they are to and
// that makes room, and reports whether it has.
func (b *Box) dropLocked(n int) bool {
	if b.group.Overflow != DropOldest {
		return false
	}
	bytes, messages := b.held+n, b.count // without the queue: what is being written stays
	for _, c := range b.queue {
		bytes -= c.payload
		messages -= c.messages + len(c.receipts)*receiptCost
	}
	if !b.group.fits(bytes, messages) {
		return false
	}
	for len(b.queue) > 0 && !b.fitsLocked(n) {
		b.failLocked(b.queue[0].pop(b.group.Newline), ErrSlow)
		if b.queue[0].messages == 0 {
			b.queue.take(0).free()
		}
	}
	return b.fitsLocked(n)
}

// requeueLocked takes what waits out of the mailbox, and gives it the opcode of
// the connection that it will leave on. Without one, the mailbox keeps what it has,
// and what came from elsewhere goes back: two boxes that forward to each other would
// wait for ever.
func (b *Box) requeueLocked() {
	all := b.queue
	b.queue = nil
	for _, c := range all {
		if b.link == nil && c.entry != nil {
			b.queue = append(b.queue, c)
			continue
		}
		b.group.mailbox.remove(c)
		for c.messages > 0 {
			m := c.next(b.group.Newline)
			if b.link == nil && m.Here {
				b.failLocked(single(&m, b.group.Newline), ErrMoved)
			} else {
				b.pushLocked(&m)
			}
		}
		c.free()
	}
	if b.link != nil {
		b.addRemoteBytes(-b.remoteBytes)
	}
}

// freeLocked gives c back, or keeps it while b is active: the way through
// newChunk's pools, from another processor, takes a quarter of an Add's time.
// Beat lets go of it.
func (b *Box) freeLocked(c *chunk) {
	if !b.active || b.spare != nil || cap(c.buf) > 4<<10 {
		c.free()
		return
	}
	*c = chunk{buf: c.buf[:0]}
	b.spare = c
}

// take removes and returns a chunk, mostly the first.
func (q *queue) take(i int) *chunk {
	c := (*q)[i]
	if i == 0 && len(*q) > 16 { // as in the mailbox, where each is one message
		(*q)[0] = nil
		*q = (*q)[1:]
	} else {
		*q = slices.Delete(*q, i, i+1)
	}
	return c
}
