package outbox

import (
	"slices"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// Piece is how large a chunk grows, unless one message needs more.
const Piece = 64 << 10

// A Format is how the messages of a log are framed.
type Format struct {
	Opcode  byte
	Newline bool // a newline ends each payload
}

// A Chunk holds messages back to back, so that messages that have gathered leave in one write.
type Chunk struct {
	buf      []byte // whole frames, from off on
	off      int
	Count    // of the messages in these frames
	receipts []receipt
	Born     time.Duration // when the chunk was begun, if the chunk is timed; else 0
	Reason   error         // why the messages are undelivered, while the write before them is under way
	Cut      bool          // some or all of it was written, so the peer may have it
	format   Format
}

// A receipt says where in the chunk's buf the frame of a message starts, and keeps what the chunk
// needs of that message beside the payload.
type receipt struct {
	at int
	*Receipt
	fromRemote bool
}

// sizes are the capacities of pooled chunks. A larger message gets a chunk of its own.
var (
	sizes = [...]int{256, 1 << 10, 4 << 10, 16 << 10, 32 << 10, Piece}
	pools [len(sizes)]sync.Pool
)

// newChunk returns an empty chunk for n bytes. A tight chunk has room for no more, and comes from
// no pool, because it may be kept for a long time.
func newChunk(n int, tight bool) *Chunk {
	if i, _ := slices.BinarySearch(sizes[:], n); !tight && i < len(sizes) {
		if c, _ := pools[i].Get().(*Chunk); c != nil {
			return c
		}
		n = sizes[i]
	}
	return &Chunk{buf: make([]byte, 0, n)}
}

// Free returns c to its pool. Nothing may refer to its bytes any more.
func (c *Chunk) Free() {
	if i := slices.Index(sizes[:], cap(c.buf)); i >= 0 {
		*c = Chunk{buf: c.buf[:0]}
		pools[i].Put(c)
	}
}

// Single returns a chunk with nothing but m, and no room for more.
func Single(m *Message, f Format) *Chunk {
	c := newChunk(len(m.Data)+frame.Overhead, true)
	c.add(m, f)
	return c
}

// Frames returns the frames of c.
func (c *Chunk) Frames() []byte { return c.buf[c.off:] }

// Size returns how many bytes c keeps, including those of messages that have left it.
func (c *Chunk) Size() int { return len(c.buf) }

// Next removes and returns the first message. Its bytes still belong to c.
func (c *Chunk) Next() (m Message) {
	start, end := frame.Bounds(c.Frames())
	m.Data = c.buf[c.off+start : c.off+end]
	if c.format.Newline {
		m.Data = m.Data[:len(m.Data)-1]
	}
	if len(c.receipts) > 0 && c.receipts[0].at == c.off {
		m.Receipt, m.FromRemote = c.receipts[0].Receipt, c.receipts[0].fromRemote
		c.receipts = c.receipts[1:]
	}
	c.off += end
	c.Count = c.Count.Minus(m.Count())
	return m
}

// Fit gives c a smaller buffer if c needs less than half of the one it has.
func (c *Chunk) Fit() {
	n := len(c.Frames())
	if cap(c.buf) <= 2*n {
		return
	}
	for i := range c.receipts {
		c.receipts[i].at -= c.off
	}
	c.buf, c.off = append(make([]byte, 0, n), c.Frames()...), 0
}

// add appends a message, whose frame must fit.
func (c *Chunk) add(m *Message, f Format) {
	if m.Receipt != nil {
		c.receipts = append(c.receipts, receipt{len(c.buf), m.Receipt, m.FromRemote})
	}
	c.format = f
	c.buf = frame.Append(c.buf, f.Opcode, m.Data, f.Newline)
	c.Count = c.Count.Plus(m.Count())
}

// NextSize returns how many bytes of Frames the first message takes.
func (c *Chunk) NextSize() int {
	_, end := frame.Bounds(c.Frames())
	return end
}

// First removes the first message, and returns it in a chunk of its own.
func (c *Chunk) First() *Chunk {
	if c.Messages == 1 {
		one := *c
		*c = Chunk{}
		return &one
	}
	m := c.Next()
	return Single(&m, c.format)
}
