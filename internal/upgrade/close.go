package upgrade

import (
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// A close is orderly if the peer reads our close frame, and TLS's close_notify. The kernel
// destroys both if it closes a socket with bytes that nobody has read. So a goroutine drops what
// comes until the peer has answered, then a Conn shuts its side down, and closes when the peer has
// (RFC 6455 sections 5.5.1 and 7.1.1). Firefox calls a close unclean, and may withhold the last
// messages from its page, if our side is shut before it has answered. Only time bounds what is
// dropped: a proxy may hold 20 MB that the peer has sent before its answer.

// closeGrace is how long a close frame may wait for room in the socket, and how long the socket
// may wait for its peer to close. The peer has half of it to answer a close frame.
const closeGrace = time.Second

// segment is how many bytes a peer may not have acknowledged yet although no data waits for it:
// the last control frames, and our FIN.
const segment = 1 << 10

// Close closes c for the library, and returns at once. It sends a close frame if nobody has: with
// status 1001 (come back) if the server goes away, and otherwise with 1000. The socket is closed
// when the peer has closed its side, at most a second later.
func (c *Conn) Close() error {
	c.End(frame.StatusNormal, func() {})
	c.update(func(now *closing) { now.abandoned = true })
	return nil
}

// Closed reports whether the close has begun.
func (c *Conn) Closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing.begun()
}

// End begins the close, with s if no close frame was sent. It never blocks. after is called
// once the socket is closed.
func (c *Conn) End(s frame.Status, after func()) {
	c.update(func(now *closing) { s = s.Final(now.goesAway()) })
	if s.Code != 0 {
		_ = c.control(s.Frame(), pool) // in vain if a frame was cut
	}
	c.update(func(now *closing) {
		c.after.add(after)
		now.ask(s.Code != 0)
	})
}

// Kill closes the socket at once, whatever waits for it, and never blocks.
func (c *Conn) Kill() { c.update(func(now *closing) { now.life = ended }) }

// update changes c.closing under the lock, and then does what follows.
func (c *Conn) update(change func(*closing)) {
	c.mu.Lock()
	before, dropped := c.closing.life, c.closing.drops()
	change(&c.closing)
	now := c.closing.move()
	drops := !dropped && c.closing.drops() && c.closing.peer != silent
	begins, ends := before == alive && now == ending, before != ended && now == ended
	if begins {
		late := time.AfterFunc(closeGrace/2, func() { c.update(func(now *closing) { now.hears(overdue) }) })
		over := time.AfterFunc(closeGrace, c.Kill)
		c.after.add(func() { late.Stop(); over.Stop() })
	}
	after := callback(func() {})
	if now == ended && c.after != nil {
		after, c.after = c.after, nil
	}
	if now != before {
		c.change.Wake()
	}
	c.mu.Unlock()
	if drops {
		go c.Read(nil)
	}
	switch under := socket.Under(c.Conn); {
	case begins:
		socket.Apart(under, func() { limitReads(c.Conn) })
		c.release(nobody, nil)
	case before < shutting && now == shutting:
		c.shut()
	case ends:
		then := after // only this case needs a copy on the heap
		socket.Apart(under, func() { socket.Close(c.Conn); then() })
		if before <= ending { // later no write is stuck, and the Close of a connection may flush its buffer
			socket.Apart(under, func() { _ = c.applyDeadline() })
		}
	default:
		after()
	}
}

// A callback is the functions to call; nil is none.
type callback func()

// add makes f run after the others.
func (c *callback) add(f func()) {
	if before := *c; before != nil {
		*c = func() { before(); f() }
	} else {
		*c = f
	}
}

// shut shuts our side. TLS may wait up to 5 s for that
// (tls.Conn.CloseWrite). A connection without CloseWrite, as a limited listener returns, lingers
// with our side open if its peer has got a close frame.
func (c *Conn) shut() {
	half, halves := c.Conn.(interface{ CloseWrite() error })
	socket.Apart(c.Conn, func() {
		failed := halves && socket.Guard(half.CloseWrite) != nil
		arrived := socket.Acknowledged(c.Conn).Left <= segment // or our system cannot tell
		c.update(func(now *closing) { now.shut(failed || !halves && c.speech.phase != frames, arrived) })
	})
}
