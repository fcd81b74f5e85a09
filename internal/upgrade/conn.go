// Package upgrade has the connection under a request that gcpool.Upgrade serves. A WebSocket
// library and pools share it: the package decides who writes when, and how it is closed. It
// knows no library, no ids and no queues.
package upgrade

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/signal"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// A Conn is the connection under a request that Upgrade serves. A WebSocket library has
// hijacked it and writes frames to it. Pools write frames of their own between these, each
// with a Sender. turns.go says who may write when, and closing.go how a Conn ends.
//
// All methods may be called at once. With the zero value of every field, the response to the
// handshake has not been written yet.
type Conn struct {
	net.Conn
	Handshake Countdown // stopped when the response is out; set before the first Write

	in    incoming      // for whoever reads
	wrote atomic.Uint64 // bytes of the response and of data, whoever wrote them
	reads atomic.Uint32 // how often something has come from the peer

	mu       sync.Mutex    // a leaf; guards what follows
	reading  bool          // somebody is inside read
	writing  bool          // somebody is inside Write
	limiting bool          // somebody sets the socket's write deadline
	limited  bool          // the socket has one
	change   signal.Signal // of what mu guards
	speech   speech        // only Write changes it, so Write reads it without mu
	deadline time.Time     // the library's write deadline
	turns    turns
	closing  closing
	after    callback // for when the socket is closed
}

// A Countdown is a timer that takes no memory once it is stopped.
type Countdown struct{ atomic.Pointer[time.Timer] }

// Stop stops the timer, if there is one. It may be called at any time.
func (c *Countdown) Stop() {
	if timer := c.Swap(nil); timer != nil {
		timer.Stop()
	}
}

// NewConn returns a Conn over conn, whose peer has already sent early. If front is closed while the
// handler runs, the server goes away.
func NewConn(conn net.Conn, early []byte, front <-chan struct{}) *Conn {
	return &Conn{Conn: conn, in: incoming{early: string(early)}, closing: closing{front: front}}
}

// NewOpen returns a Conn over conn, on which the handshake is over.
func NewOpen(conn net.Conn) *Conn {
	return &Conn{Conn: conn, speech: speech{phase: frames}}
}

// ConnKey is the key of the Conn in the context of an upgraded request.
type ConnKey struct{}

// FromContext returns the Conn in ctx, or nil.
func FromContext(ctx context.Context) *Conn {
	c, _ := ctx.Value(ConnKey{}).(*Conn)
	return c
}

// Read reads what the peer sends, beginning with what came with the handshake. Once the close has
// begun, it drops what comes, and returns net.ErrClosed when nothing more comes; but a library that
// has sent a close frame still gets everything up to the peer's.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		n, now, err := c.read(p)
		switch {
		case now.life == ended, now.drops() && now.peer == silent:
			return 0, net.ErrClosed
		case !now.drops():
			return n, err
		case err != nil: // a deadline of the library
			limitReads(c.Conn)
		}
	}
}

// dropAtOnce is how much one read drops. A library may read two bytes at a time.
const dropAtOnce = 4 << 10

// read reads when nobody else does, and returns how far the close has come then.
func (c *Conn) read(p []byte) (n int, s closing, err error) {
	if !c.enter(&c.reading) {
		return 0, closing{life: ended}, net.ErrClosed
	}
	c.update(func(now *closing) {
		now.abandoned = now.abandoned && now.life != alive
		s = *now
	})
	if s.drops() && len(p) < dropAtOnce {
		p = make([]byte, dropAtOnce)
	}
	n, heard, err := c.in.read(c.Conn, p)
	if n > 0 {
		c.reads.Add(1)
	}
	c.update(func(now *closing) {
		c.reading = false
		c.change.Wake()
		now.hears(heard)
		s = *now
	})
	return n, s, err
}

// enter waits until busy is false, and makes it true. It reports false once c has ended.
func (c *Conn) enter(busy *bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for *busy && c.closing.life != ended {
		c.change.Wait(&c.mu, nil)
	}
	*busy = true // even if c has ended, because then nobody enters any more
	return c.closing.life != ended
}

// Abandon tells that the handler has returned. Unless another goroutine reads, the library reads
// no more.
func (c *Conn) Abandon() {
	c.update(func(now *closing) { now.abandoned, now.front = !c.reading, nil })
}

// Write writes for the library: the response to the handshake, then frames, split anywhere. Data
// frames wait for their turn; control frames never do.
func (c *Conn) Write(p []byte) (n int, err error) {
	if !c.enter(&c.writing) {
		return 0, net.ErrClosed
	}
	for m := 0; n < len(p) && err == nil; n += m {
		if data := c.speech.data(p[n:]); data > 0 {
			m, err = c.writeData(p[n : n+data])
			continue
		}
		var whole []byte // a control frame, which never waits
		c.mu.Lock()
		m, whole, err = c.speech.control(p[n:])
		c.mu.Unlock()
		switch {
		case err != nil:
			c.release(nobody, err)
		case whole != nil:
			err = c.control(whole, library)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	c.change.Wake()
	return n, err
}

// writeData writes p in the library's turn. A write that its deadline has cut may go on later,
// but not under TLS, because any error of a write breaks TLS for good (crypto/tls,
// Conn.SetWriteDeadline).
func (c *Conn) writeData(p []byte) (n int, err error) {
	if err = c.acquire(library); err != nil {
		return 0, err
	}
	c.applyDeadline()
	n, err = socket.WritePieces(c.Conn, p, &c.wrote, func(int) {})
	c.mu.Lock()
	c.speech.wrote(p[:n])
	cut := err
	_, secure := c.Conn.(*tls.Conn)
	if goesOn := !c.speech.parser.Cut() || errors.Is(err, os.ErrDeadlineExceeded); goesOn && !secure {
		cut = nil
	}
	c.turns.turn = controls // the library's deadline does not bind control frames
	c.mu.Unlock()
	if c.speech.phase != response {
		c.Handshake.Stop()
	}
	c.applyDeadline()
	c.release(controls, cut)
	return n, err
}
