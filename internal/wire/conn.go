package wire

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Conn is the connection under an upgraded WebSocket. x/net writes its
// frames to it, and so does the pool, past x/net; each waits for the other's
// frame to end.
type Conn struct {
	net.Conn
	reads    atomic.Uint32 // how often the peer has sent something
	returned atomic.Bool

	frames sync.Mutex // held while a frame is under way, from either side
	err    error      // what cut a frame in the middle; frames

	wrote       atomic.Uint64 // bytes, of either side
	application sync.Mutex    // serializes Write; locked before frames
	framed      bool          // the response to the handshake is out, frames follow; application
	tail        []byte        // the last bytes of the response before; application
	rest        int           // bytes of Write's frame still to come; frames is locked meanwhile

	expires atomic.Pointer[time.Timer] // nil once framed
}

// connKey finds a Conn in the context of an upgraded request.
type connKey struct{}

// NewContext returns a context with c in it.
func NewContext(ctx context.Context, c *Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// Upgraded reports whether ctx is that of an upgraded request.
func Upgraded(ctx context.Context) bool { return ctx.Value(connKey{}) != nil }

// Expire calls f after d, unless the response to the handshake is out by then, or c's
// handler has returned.
func (c *Conn) Expire(d time.Duration, f func()) { c.expires.Store(time.AfterFunc(d, f)) }

// Return notes that c's handler has returned.
func (c *Conn) Return() {
	c.returned.Store(true)
	c.keep()
}

// keep has c expire no more.
func (c *Conn) keep() {
	if timer := c.expires.Swap(nil); timer != nil {
		timer.Stop()
	}
}

// Read reads from the peer.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.reads.Add(1)
	}
	return n, err
}

// Write is x/net's way to the peer: the response to the handshake and its
// frames, a large one in several calls. Until a frame is complete nothing of
// the pool's passes.
func (c *Conn) Write(p []byte) (int, error) {
	c.application.Lock()
	defer c.application.Unlock()
	inside := c.rest > 0
	if !inside {
		c.frames.Lock()
		if c.framed {
			c.rest = frameLen(p)
		} else {
			c.response(p)
		}
	}
	n, err := pieces(c.writeLocked, p, pieceOf(c.Conn), func(int) {})
	c.rest = max(0, c.rest-n)
	if err != nil && c.rest > 0 {
		if c.rest = 0; inside || n > 0 {
			c.err = err
		}
	}
	if c.rest == 0 {
		c.frames.Unlock()
	}
	return n, err
}

// response looks for the empty line that ends the response to the handshake. Behind
// it x/net writes nothing at once, but another may.
func (c *Conn) response(p []byte) {
	const end = "\r\n\r\n"
	all := append(c.tail, p...)
	if c.tail = bytes.Clone(all[max(0, len(all)-len(end)+1):]); bytes.Contains(all, []byte(end)) {
		c.framed, c.tail = true, nil
		c.keep()
	}
}

// frameLen returns the length of the frame that p begins with; its header is
// all there, as x/net writes it.
func frameLen(p []byte) int {
	if len(p) < 2 || p[1] == 126 && len(p) < 4 || p[1] == 127 && len(p) < 10 {
		return 0
	}
	_, end := Frame(p)
	return max(0, end)
}

// try writes whole frames as far as the socket has room for them. Where that is
// in the middle, it leaves frames locked, until send has written the rest.
func (c *Conn) try(frames []byte) (n int) {
	if !c.frames.TryLock() {
		return 0
	}
	if c.err == nil {
		n = writeNow(c.Conn, frames[:min(len(frames), pieceOf(c.Conn))])
	}
	if n > 0 {
		c.wrote.Add(uint64(n))
	}
	if n == 0 || n == len(frames) {
		c.frames.Unlock()
	}
	return n
}

// send writes whole frames, or what try has left of them if so told, and calls
// progress between writes.
func (c *Conn) send(frames []byte, tried bool, progress func(n int)) (n int, err error) {
	if !tried {
		c.frames.Lock()
	}
	defer c.frames.Unlock()
	if n, err = pieces(c.writeLocked, frames, pieceOf(c.Conn), progress); err != nil {
		c.err = err
	}
	return n, err
}

// pieces writes p a piece at a time, and tells progress between writes how much
// went.
func pieces(write func([]byte) (int, error), p []byte, piece int, progress func(n int)) (n int, err error) {
	for n < len(p) && err == nil {
		if n > 0 {
			progress(n)
		}
		m := 0
		m, err = write(p[n:min(n+piece, len(p))])
		n += m
	}
	return n, err
}

// writeLocked writes p, unless a frame has been cut: what follows would be
// taken for the rest of it.
func (c *Conn) writeLocked(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := write(c.Conn, p)
	if n > 0 {
		c.wrote.Add(uint64(n))
	}
	return n, err
}
