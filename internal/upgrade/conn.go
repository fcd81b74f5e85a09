// Package upgrade implements the connection under a request that gcpool.Upgrade serves. A
// WebSocket library and pools share this connection: the package decides who writes when, and how
// the connection is closed. It knows nothing about libraries, ids or queues.
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

// A Conn is the connection under a request that Upgrade serves. A WebSocket library has hijacked
// it and writes frames to it. Pools write frames of their own between the library's, each through
// a Sender. turns.go says who may write when, and closing.go says how a Conn ends.
//
// All methods may be called concurrently. While all fields are zero, the response to the
// handshake has not been written yet.
type Conn struct {
	net.Conn
	Handshake Countdown // stopped once the response has been written; set before the first Write

	in    incoming      // used only inside read
	wrote atomic.Uint64 // bytes of the response and of data frames, from the library and pools
	reads atomic.Uint32 // how many reads have brought something from the peer

	mu       sync.Mutex    // a leaf; guards the fields below
	reading  bool          // a goroutine is inside read
	writing  bool          // a goroutine is inside Write
	limiting bool          // a goroutine is setting the socket's write deadline
	limited  bool          // the socket has a write deadline
	change   signal.Signal // woken when what mu guards has changed
	speech   speech        // only Write changes it, so Write reads it without mu
	deadline time.Time     // the library's write deadline
	turns    turns
	closing  closing
	after    callback // called once the socket is closed
}

// A Countdown is a timer that takes no memory once it is stopped.
type Countdown struct{ atomic.Pointer[time.Timer] }

// Stop stops the timer, if there is one. It may be called at any time.
func (c *Countdown) Stop() {
	if timer := c.Swap(nil); timer != nil {
		timer.Stop()
	}
}

// NewConn returns a Conn over conn; early is what the peer has already sent. If front is closed
// while the handler runs, the server counts as going away.
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
// begun, Read drops what the peer sends, and returns net.ErrClosed when nothing more can come. A
// library that has sent a close frame still gets everything up to the peer's close frame.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		n, now, err := c.read(p)
		switch {
		case now.life == ended, now.drops() && now.peer == silent:
			return 0, net.ErrClosed
		case !now.drops():
			return n, err
		case err != nil: // a deadline that the library set
			limitReads(c.Conn)
		}
	}
}

// dropAtOnce is the smallest buffer with which Read drops input. A library may read only two
// bytes at a time.
const dropAtOnce = 4 << 10

// read reads once no other goroutine is reading, and returns the state of the close after the
// read.
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

// enter waits until busy is false, and sets it to true. It reports false once c has ended.
func (c *Conn) enter(busy *bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for *busy && c.closing.life != ended {
		c.change.Wait(&c.mu, nil)
	}
	*busy = true // harmless if c has ended: then no goroutine enters any more
	return c.closing.life != ended
}

// Abandon notes that the handler has returned. Unless another goroutine is reading, the library
// then counts as reading no more.
func (c *Conn) Abandon() {
	c.update(func(now *closing) { now.abandoned, now.front = now.abandoned || !c.reading, nil })
}

// Write writes for the library: the response to the handshake, then frames, split anywhere. Data
// frames wait for their turn; control frames wait only for another Write.
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

// writeData writes p when it is the library's turn. A write that the library's deadline has cut
// can be continued later, but not under TLS, where any write error breaks the connection
// permanently (crypto/tls, Conn.SetWriteDeadline).
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
	c.turns.turn = controls // the library's deadline does not apply to control frames
	c.mu.Unlock()
	if c.speech.phase != response {
		c.Handshake.Stop()
	}
	c.applyDeadline()
	c.release(controls, cut)
	return n, err
}
