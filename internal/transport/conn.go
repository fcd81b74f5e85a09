package transport

import (
	"bytes"
	"container/list"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// A Conn is the connection under a request that Upgrade serves. A WebSocket library has
// hijacked it and writes frames to it; pools write their own between those. turns.go says
// who may write when, and close.go how a Conn ends.
//
// All methods may be called at once. The zero values of the fields are those of a
// connection whose response to the handshake has not been written.
type Conn struct {
	net.Conn

	reads atomic.Uint32 // how often the peer has sent something
	wrote atomic.Uint64 // bytes, whoever wrote them

	expires atomic.Pointer[time.Timer] // ends the handshake; nil once that is over

	reading sync.Mutex   // serializes Read; locked before the others
	early   []byte       // what came with the handshake and has not been read; guarded by reading
	peer    frame.Parser // of what the peer sends; guarded by reading

	writing sync.Mutex // serializes Write; locked before the others
	part    []byte     // of the response, or of a control frame, so far; guarded by writing

	deadlines sync.Mutex // serializes changes of the socket's deadlines; locked before mu
	limited   bool       // the socket has a write deadline; guarded by deadlines

	mu       sync.Mutex // a leaf; guards what follows
	speaks   speech
	parser   frame.Parser  // of the library's frames; only Write changes it
	data     uint64        // how many bytes writeData has written
	deadline time.Time     // the library's write deadline
	due      []byte        // control frames that wait for the end of a frame
	turn     writer        // who writes to the socket
	last     writer        // who wrote data before
	waiting  [2]int32      // how many wait for the turn, by writer-1
	free     chan struct{} // closed when a waiter should look again; nil while nobody waits
	err      error         // what has cut a frame in the middle for good

	life life
	said closeFrame
	done bool // the peer sends nothing any more: it has closed, or said so
	away bool // GoAway was called
	end  *end // nil while alive
}

// end is what a Conn needs once its close has begun.
type end struct {
	dropped int           // bytes read and dropped since
	timer   *time.Timer   // closes the socket
	place   *list.Element // among the lingerers
	after   []func()      // called once the socket is closed
}

// speech is what the library writes.
//
//	response -> frames   after a response with status 101
//	response -> other    any other answer, or no HTTP: it passes as it is
type speech uint8

const (
	response speech = iota
	frames
	other
)

// responseMost is how long the head of a response may be.
const responseMost = 64 << 10

// NewConn returns a Conn over conn, whose peer has already sent early.
func NewConn(conn net.Conn, early []byte) *Conn {
	socket(under(conn), limitUnsent)
	return &Conn{Conn: conn, early: bytes.Clone(early)}
}

// ConnKey is under what the context of an upgraded request has its Conn.
type ConnKey struct{}

// FromContext returns the Conn in ctx, or nil.
func FromContext(ctx context.Context) *Conn {
	c, _ := ctx.Value(ConnKey{}).(*Conn)
	return c
}

// Expire calls f after d, unless the response to the handshake is out by then, or the
// handler has returned.
func (c *Conn) Expire(d time.Duration, f func()) { c.expires.Store(time.AfterFunc(d, f)) }

// Keep ends what Expire began.
func (c *Conn) Keep() {
	if timer := c.expires.Swap(nil); timer != nil {
		timer.Stop()
	}
}

// Read reads what the peer sends, first what came with the handshake. Once the close has
// begun it drops what comes and returns net.ErrClosed when nothing comes any more.
func (c *Conn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	n, err := c.read(p)
	if c.drops() {
		c.drop(n, err)
		return 0, net.ErrClosed
	}
	return n, err
}

// Drain reads and drops what comes until the peer has closed, if the close has begun. It
// is for the goroutine whose handler has returned.
func (c *Conn) Drain() {
	if !c.Ending() || !c.reading.TryLock() { // who is inside Read drops what comes
		return
	}
	defer c.reading.Unlock()
	c.drop(0, nil)
}

// drop drops the n bytes that a read has brought, unless it failed, and what follows.
func (c *Conn) drop(n int, err error) {
	p := make([]byte, 4<<10) // a library may have read two bytes at a time
	for c.lingers(n) && err == nil {
		n, err = c.read(p)
	}
}

// read reads into p, and notes when nothing will follow.
func (c *Conn) read(p []byte) (n int, err error) {
	if len(c.early) > 0 {
		n = copy(p, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
	} else {
		err = guard(func() error { n, err = c.Conn.Read(p); return err })
	}
	if n > 0 {
		c.reads.Add(1)
	}
	done := err == io.EOF
	for took := 0; took < n; {
		m, ended := c.peer.Next(p[took:n])
		took += m
		done = done || ended && c.peer.Opcode() == frame.Close
	}
	if done {
		c.quiet()
	}
	return n, err
}

// Write is the library's way to the peer: the response to the handshake, then frames,
// split anywhere. Data frames wait for their turn, and control frames never do.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for n < len(p) && err == nil {
		m := 0
		switch rest := p[n:]; c.speaks {
		case response:
			m, err = c.writeResponse(rest)
		case other:
			m, err = c.writeData(rest, other)
		default:
			if run := c.dataRun(rest); run > 0 {
				m, err = c.writeData(rest[:run], frames)
			} else {
				m, err = c.writeControl(rest)
			}
		}
		n += m
	}
	return n, err
}

// writeResponse writes p up to the empty line that ends the response, if it is there.
func (c *Conn) writeResponse(p []byte) (n int, err error) {
	const status, end = len("HTTP/1.1 "), "\r\n\r\n"
	speaks, most := response, len(p)
	head := append(c.part, p...)
	if i := bytes.Index(head, []byte(end)); i >= 0 {
		speaks, most = frames, i+len(end)-len(c.part)
	}
	if len(head) > responseMost || len(head) >= status+3 && string(head[status:status+3]) != "101" {
		speaks, most = other, len(p)
	}
	if n, err = c.writeData(p[:most], speaks); n < most || speaks == response {
		c.part = head[:len(c.part)+n]
		return n, err
	}
	c.part = nil
	c.Keep()
	return n, err
}

// dataRun returns how much of p belongs to data frames, up to the first control frame.
func (c *Conn) dataRun(p []byte) (n int) {
	for follow := c.parser; n < len(p); {
		m, _ := follow.Next(p[n:])
		if follow.Control() {
			return n
		}
		n += m
	}
	return n
}

// writeData writes p in the library's turn; then, with all of p out, it speaks what then
// says. A write that ends early leaves its frame open and may go on later, unless the
// connection is broken.
func (c *Conn) writeData(p []byte, then speech) (n int, err error) {
	if err = c.acquire(library); err != nil {
		return 0, err
	}
	c.applyDeadline()
	n, err = c.put(p, func(int) {})
	c.mu.Lock()
	c.data += uint64(n)
	for took := 0; took < n && c.speaks == frames; {
		m, _ := c.parser.Next(p[took:n])
		took += m
	}
	if n == len(p) {
		c.speaks = then // before release, which sends what has waited for that
	}
	if err != nil && c.brokenLocked(err) {
		c.err = err
	}
	c.last, c.turn = library, controls
	c.mu.Unlock()
	c.applyDeadline()
	c.release()
	return n, err
}

// writeControl takes the bytes of a control frame, and has it sent when it is complete.
func (c *Conn) writeControl(p []byte) (n int, err error) {
	c.mu.Lock()
	n, ended := c.parser.Next(p)
	c.mu.Unlock()
	if c.part = append(c.part, p[:n]...); len(c.part) > controlMost {
		c.fail(errControl)
		return 0, errControl
	}
	if ended {
		if err = c.send(c.part, byLibrary); c.parser.Opcode() == frame.Close {
			c.answered()
		}
		c.part = nil
	}
	return n, err
}

// put writes p to the socket a piece at a time, and tells progress between pieces how
// much went.
func (c *Conn) put(p []byte, progress func(n int)) (int, error) {
	return pieces(func(p []byte) (int, error) {
		n, err := write(c.Conn, p)
		if n > 0 {
			c.wrote.Add(uint64(n))
		}
		return n, err
	}, p, pieceOf(c.Conn), progress)
}
