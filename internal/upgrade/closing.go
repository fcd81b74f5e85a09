package upgrade

import (
	"fmt"
	"net"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// life is how far a Conn is from its end.
//
//	alive     -> parted      a write has failed because the peer has gone; the library may still read
//	                         what came before
//	alive     -> ending      the library or a pool closes it; or the library and the peer
//	                         have both sent a close frame
//	ending    -> answering   all that was due is out, or cannot leave
//	answering -> shutting    the peer has sent its close frame, will send none, or is late
//	shutting  -> lingering   our side is shut
//	lingering -> ended       the peer has closed; or it began the close and has everything
//	parted    -> ended       the library has read all, or reads no more
//	any       -> ended       closeGrace is over, nothing can be sent, or Kill
type life uint8

const (
	alive life = iota
	parted
	ending
	answering
	shutting
	lingering
	ended
)

// end is what the peer has done to end the connection.
//
//	open   -> overdue  it has had its time to answer, or no close frame can have reached it
//	open   -> began    it has sent a close frame before anybody here has
//	any    -> silent   it sends nothing more, or nobody waits for it
type end uint8

const (
	open end = iota
	overdue
	began
	silent
)

var errCloseSent = fmt.Errorf("gcpool: close frame sent: %w", net.ErrClosed)

// closing records how far the close of a Conn has come, and decides what follows. close.go acts
// on it. said tells who has wanted to send a close frame; only the first frame leaves:
//
//	nobody -> pool       a pool closes, or End for a library that sends no close frame
//	any    -> library    the library has written one before the close began, so it expects the
//	                     peer's frame
type closing struct {
	life      life
	said      writer
	peer      end
	abandoned bool  // the library reads no more
	away      bool  // a pool that has the connection, or has refused it, is shut down
	cut       error // why nothing may follow: a frame has been cut for good

	front <-chan struct{} // closed when what is in front of a handler ends it; nil once it has returned
}

// begun reports whether the close has begun.
func (c *closing) begun() bool { return c.life >= ending }

// drops reports whether to drop what comes. A library that has sent a close frame expects the
// peer's, so then what comes is dropped only if the library reads no more.
func (c *closing) drops() bool {
	return c.begun() && c.life != ended && (c.abandoned || c.said != library)
}

// goesAway reports whether the peer should come back, because the server ends, or ends the request.
func (c *closing) goesAway() bool {
	select {
	case <-c.front:
		return true
	default:
		return c.away
	}
}

// refusal returns why w may write no more data, or nil. After a close frame nobody sends data
// (RFC 6455 section 5.5.1). But the library may end the frame that it has begun, and write the
// response to the handshake, for which a pool's goodbye waits.
func (c *closing) refusal(w writer, s *speech) error {
	switch {
	case c.cut != nil:
		return c.cut
	case c.life == ended, c.life != alive && s.phase != frames:
		return net.ErrClosed
	case c.said != nobody && (w == pool || s.betweenFrames()):
		return errCloseSent
	}
	return nil
}

// say reports whether to send a control frame. After a close frame none is sent, not even
// the library's answer to a pool's.
func (c *closing) say(f []byte, by writer) (send bool, err error) {
	switch {
	case c.cut != nil:
		return false, c.cut
	case c.said == nobody && c.life != alive:
		return false, net.ErrClosed
	}
	send = c.said == nobody
	if f[0]&0xf == frame.Close && c.life == alive {
		c.said = max(c.said, by)
	}
	return send, nil
}

// ask begins the close. status tells whether the close has a status. If it has none, and no
// close frame was sent, there is nothing to send, so the end comes at once. And if it has none,
// a peer that has not answered a pool's close frame gets no more time.
func (c *closing) ask(status bool) {
	switch {
	case c.life != alive:
	case c.cut != nil, !status && c.said == nobody:
		c.life = ended
	default:
		c.life = ending
		if !status && c.said == pool {
			c.hears(silent)
		}
	}
}

// fails notes that a write has failed for good, and whether the peer has gone.
func (c *closing) fails(err error, gone bool) {
	if c.cut = err; gone && c.life == alive {
		c.life = parted
	}
}

// leaves notes that nothing is due any more, after ask. opened is false if no close frame can have
// left, because the handshake is not over: then there is no answer to wait for.
func (c *closing) leaves(opened bool) {
	c.life = max(c.life, answering)
	if !opened {
		c.hears(overdue)
	}
}

// shut notes that our side is shut, or cannot be shut, and whether what we have sent has
// arrived: then nobody waits for a peer that began the close. A peer that got no close frame,
// because a frame was cut before it, gets no more time.
func (c *closing) shut(failed, arrived bool) {
	c.life = max(c.life, lingering)
	if failed || c.cut != nil || c.peer == began && arrived {
		c.hears(silent)
	}
}

// hears notes what the peer has done. Behind our close frame, its own is the last that it sends. If
// it begins, it answers pings until it has our frame (RFC 6455 section 5.5.2).
func (c *closing) hears(e end) {
	if e == began && c.said != nobody {
		e = silent
	}
	c.peer = max(c.peer, e)
}

// move advances life if there is nothing left to wait for, and returns it. With the close
// frames of the peer and of the library, the close handshake is complete (RFC 6455 section
// 7.1.1). A pool's frame is not enough: the library still has to read the peer's frame, and
// answers it.
func (c *closing) move() life {
	switch {
	case c.life == answering && (c.peer != open || c.cut != nil):
		c.life = shutting
	case c.life == lingering && c.peer == silent:
		c.life = ended
	case c.life == alive && c.peer >= began && c.said == library:
		c.ask(true)
	case c.life == parted && (c.peer == silent || c.abandoned):
		c.life = ended
	}
	return c.life
}
