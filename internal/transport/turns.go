package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// writer is who writes to the socket of a Conn. One at a time does, and the next begins
// where a frame has ended:
//
//	nobody   -> library    its message goes on, or the pool has had its turn
//	nobody   -> pool       no message of the library's is open, or it has had its turn
//	any      -> controls   control frames are due at the end of a data frame
//	controls -> nobody     none is due any more
type writer uint8

const (
	nobody writer = iota
	library
	pool
	controls
)

var (
	errControl   = errors.New("gcpool: control frame with more than 125 bytes of payload")
	errCloseSent = fmt.Errorf("gcpool: close frame sent: %w", net.ErrClosed)
)

// acquire waits for w's turn. The library waits no longer than its write deadline.
func (c *Conn) acquire(w writer) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[w-1]++
	for err = c.refusalLocked(w); err == nil && !c.mayLocked(w); err = c.refusalLocked(w) {
		if err = c.waitLocked(w); err != nil {
			break
		}
	}
	c.waiting[w-1]--
	if err != nil {
		c.wakeLocked() // whoever has let w go first
		return err
	}
	c.turn = w
	return nil
}

// mayLocked reports whether the turn is w's. Who wrote last lets the other go first.
func (c *Conn) mayLocked(w writer) bool {
	between := c.speaks == frames && !c.parser.Open()
	switch {
	case c.turn != nobody:
		return false
	case w == pool:
		return between && (c.last != pool || c.waiting[library-1] == 0)
	default:
		return !between || c.last != library || c.waiting[pool-1] == 0
	}
}

// refusalLocked returns why w may write no more. After a close frame nobody sends data (RFC
// 6455 section 5.5.1); the library may end the frame that it has begun, and answer the
// handshake, which a goodbye of the pool's waits for.
func (c *Conn) refusalLocked(w writer) error {
	switch {
	case c.err != nil:
		return c.err
	case c.life == ended, c.life != alive && (c.said == unsaid || c.speaks != frames):
		return net.ErrClosed
	case c.said != unsaid && (w == pool || c.speaks == frames && !c.parser.Cut()):
		return errCloseSent
	}
	return nil
}

func (c *Conn) waitLocked(w writer) error {
	var late <-chan time.Time
	if w == library && !c.deadline.IsZero() {
		rest := time.Until(c.deadline)
		if rest <= 0 {
			return os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(rest)
		defer timer.Stop()
		late = timer.C
	}
	c.sleepLocked(late)
	return nil
}

// sleepLocked waits until wakeLocked is called, and reports whether that was before late.
func (c *Conn) sleepLocked(late <-chan time.Time) bool {
	if c.free == nil {
		c.free = make(chan struct{})
	}
	free := c.free
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-free:
		return true
	case <-late:
		return false
	}
}

// wakeLocked has those who wait for a turn look again.
func (c *Conn) wakeLocked() {
	if c.free != nil {
		close(c.free)
		c.free = nil
	}
}

// release ends a turn. Control frames that are due leave first; if the socket has no room
// for them a goroutine waits for that, and keeps the turn.
func (c *Conn) release() {
	c.mu.Lock()
	for len(c.due) > 0 && c.speaks == frames && !c.parser.Cut() && c.err == nil {
		due := c.due
		c.due, c.turn = nil, controls
		c.mu.Unlock()
		n := writeNow(c.Conn, due)
		c.wrote.Add(uint64(n))
		if n < len(due) {
			go c.waitForRoom(due[n:], controlTime)
			return
		}
		c.mu.Lock()
	}
	sent := len(c.due) == 0 || c.speaks != frames || c.err != nil // or never will be
	shut := c.life == ending && sent
	if !shut { // else nobody's turn comes any more
		c.turn = nobody
		c.wakeLocked()
	}
	c.mu.Unlock()
	if shut {
		c.shut()
	}
}

// startLocked unlocks c and, if nobody writes, has release see to what is due.
func (c *Conn) startLocked() {
	idle := c.turn == nobody
	if idle {
		c.turn = controls
	}
	c.mu.Unlock()
	if idle {
		c.release()
	}
}

// try writes whole frames as far as the socket has room for them. Where that ends inside
// one, the turn stays the pool's until sendFrames has written the rest.
func (c *Conn) try(b []byte) (n int) {
	c.mu.Lock()
	if !c.mayLocked(pool) || c.refusalLocked(pool) != nil {
		c.mu.Unlock()
		return 0
	}
	c.turn = pool
	c.mu.Unlock()
	n = writeNow(c.Conn, b[:min(len(b), pieceOf(c.Conn))])
	c.wrote.Add(uint64(n))
	if n == 0 || n == len(b) {
		c.finish(nil)
	}
	return n
}

// sendFrames writes whole frames, or what try has left of them if told so, and calls
// progress between writes.
func (c *Conn) sendFrames(b []byte, tried bool, progress func(n int)) (n int, err error) {
	if !tried {
		if err = c.acquire(pool); err != nil {
			return 0, err
		}
	}
	defer func() { c.finish(err) }()
	return c.put(b, progress)
}

// finish ends the pool's turn. An error leaves a cut frame, after which nothing can follow.
func (c *Conn) finish(err error) {
	c.mu.Lock()
	c.last = pool
	if err != nil {
		c.err = err
	}
	c.mu.Unlock()
	c.release()
}

// held returns how much data the library has written, if it has left a message unfinished.
func (c *Conn) held() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn == library || !c.parser.Open() {
		return 0
	}
	return c.data
}

// fail has nothing follow what err has cut.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	c.wakeLocked()
}

// brokenLocked reports whether nothing can follow err. A frame that a deadline has cut may go on
// later, but not under TLS, which any error of a write breaks for good (crypto/tls,
// Conn.SetWriteDeadline).
func (c *Conn) brokenLocked(err error) bool {
	_, secure := c.Conn.(*tls.Conn)
	return secure || c.parser.Cut() && !errors.Is(err, os.ErrDeadlineExceeded)
}
