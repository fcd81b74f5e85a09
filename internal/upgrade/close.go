package upgrade

import (
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// A close is orderly if the peer reads our close frame and TLS's close_notify. The kernel
// discards both if the socket is closed while it holds unread input. So a goroutine drops what
// the peer sends until the peer has answered. Then the Conn shuts down its side, and closes the
// socket once the peer has closed its side (RFC 6455 sections 5.5.1 and 7.1.1). If our side is
// shut down before Firefox has answered, Firefox calls the close unclean, and may withhold the
// last messages from its page. Only time bounds how much is dropped: a proxy can hold 20 MB that
// the peer sent ahead of its answer.

// closeGrace is how long a whole close may take: the wait for room in the socket for the close
// frame, and the wait for the peer to close its side. The peer has half of it to answer a close
// frame.
const closeGrace = time.Second

// partedGrace is how long a library may read what a peer had sent before it left.
const partedGrace = 10 * time.Second

// grace returns how long a Conn may go on in l, and in the lives that follow.
func (l life) grace() time.Duration {
	if l == parted {
		return partedGrace
	}
	return closeGrace
}

// segment is how many bytes can still be unacknowledged once all data has arrived: the last
// control frames and our FIN.
const segment = 1 << 10

// Close closes c for the library, and returns at once. If no close frame was sent, it sends one:
// with status 1001 (come back) if the server is going away, and otherwise with 1000. The socket
// is closed when the peer has closed its side, at most a second later.
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

// End begins the close, with s if no close frame was sent. It never blocks. It calls after once
// the socket is closed.
func (c *Conn) End(s frame.Status, after func()) {
	c.update(func(now *closing) { s = s.Final(now.goesAway()) })
	if s.Code != 0 {
		_ = c.control(s.Frame(), pool) // fails if a frame was cut
	}
	c.update(func(now *closing) {
		c.after.add(after)
		now.ask(s.Code != 0)
	})
}

// Kill closes the socket at once, whatever still waits to be written. It never blocks.
func (c *Conn) Kill() { c.update(func(now *closing) { now.life = ended }) }

// update changes c.closing under the lock, and then does what the new state calls for.
func (c *Conn) update(change func(*closing)) {
	c.mu.Lock()
	before, dropped := c.closing.life, c.closing.drops()
	change(&c.closing)
	now := c.closing.move()
	drops := !dropped && c.closing.drops() && c.closing.peer != silent
	begins, ends := before == alive && now == ending, before != ended && now == ended
	if begins || before == alive && now == parted {
		late := time.AfterFunc(closeGrace/2, func() { c.update(func(now *closing) { now.hears(overdue) }) })
		over := time.AfterFunc(now.grace(), c.Kill)
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
		if before <= ending { // past ending no write is stuck, and Close may still flush a buffer
			socket.Apart(under, func() { _ = c.applyDeadline() })
		}
	default:
		after()
	}
}

// A callback calls the functions that were added to it, in order. A nil callback is empty.
type callback func()

// add makes f run after the others.
func (c *callback) add(f func()) {
	if before := *c; before != nil {
		*c = func() { before(); f() }
	} else {
		*c = f
	}
}

// shut shuts down our side. TLS can take up to 5 s for that (tls.Conn.CloseWrite). A connection
// without CloseWrite, such as one from a listener that limits connections, lingers with our side
// open if its peer has got a close frame.
func (c *Conn) shut() {
	half, halves := c.Conn.(interface{ CloseWrite() error })
	socket.Apart(c.Conn, func() {
		failed := halves && socket.Guard(half.CloseWrite) != nil
		arrived := socket.Acknowledged(c.Conn).Left <= segment // also if our system cannot tell
		c.update(func(now *closing) { now.shut(failed || !halves && c.speech.phase != frames, arrived) })
	})
}
