package upgrade

import (
	"fmt"
	"net"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// life is how far a Conn is from its end.
//
//	alive     -> parted      a write has failed because the peer has gone; the library may still read
//	                         what the peer sent before that
//	alive     -> ending      the library or a pool closes it; or the library and the peer
//	                         have both sent a close frame
//	ending    -> answering   all frames that were due are out, or cannot be written
//	answering -> shutting    the peer has sent its close frame, will send none, or is late
//	shutting  -> lingering   our side is shut down
//	lingering -> ended       the peer has closed its side; or it began the close and has everything
//	parted    -> ended       the library has read all, or reads no more
//	any       -> ended       closeGrace or partedGrace is over, nothing can be sent, or Kill was called
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
//	open   -> overdue  its time to answer is over, or no close frame can have reached it
//	open   -> began    it has sent a close frame before our side has
//	any    -> silent   it sends nothing more, or we no longer wait for it
type end uint8

const (
	open end = iota
	overdue
	began
	silent
)

var errCloseSent = fmt.Errorf("gcpool: close frame sent: %w", net.ErrClosed)

// closing records how far the close of a Conn has come, and decides what follows. close.go acts
// on it. said is who has tried to send a close frame; only the first frame is sent:
//
//	nobody -> pool       a pool closes, or End closes for a library that has sent no close frame
//	any    -> library    the library has written one before the close began, so it expects the
//	                     peer's close frame
type closing struct {
	life      life
	said      writer
	peer      end
	abandoned bool  // the library reads no more
	away      bool  // Shutdown was called on a pool that has the connection, or has refused it
	cut       error // why nothing may be written any more: a frame was cut and cannot be completed

	front <-chan struct{} // closed when the request ends before its handler; nil after the handler
}

// begun reports whether the close has begun.
func (c *closing) begun() bool { return c.life >= ending }

// drops reports whether to drop what the peer sends. A library that has sent a close frame
// expects the peer's, so its input is dropped only if the library reads no more.
func (c *closing) drops() bool {
	return c.begun() && c.life != ended && (c.abandoned || c.said != library)
}

// goesAway reports whether the peer should come back, because the server is going away, or has
// ended the request.
func (c *closing) goesAway() bool {
	select {
	case <-c.front:
		return true
	default:
		return c.away
	}
}

// refusal returns why w may write no more data, or nil if it may. No data may follow a close
// frame (RFC 6455 section 5.5.1). But the library may finish the frame that it has begun, and may
// write the response to the handshake, because a pool's close frame waits for that response.
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

// say reports whether to send the control frame f, and notes a close frame. After a close frame
// no control frame is sent, not even the library's answer to a pool's close frame.
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

// ask begins the close. status says whether the close has a status. Without one, if no close
// frame was sent, there is nothing to send, so the Conn ends at once. Without one, if a pool's
// close frame was sent, the peer gets no more time to answer it.
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

// fails notes that a write has failed and cannot be continued. gone says that this is because the
// peer has gone.
func (c *closing) fails(err error, gone bool) {
	if c.cut = err; gone && c.life == alive {
		c.life = parted
	}
}

// leaves notes, after ask, that no frame is due any more. opened is false if the handshake is not
// over: then no close frame can have been sent, and there is no answer to wait for.
func (c *closing) leaves(opened bool) {
	c.life = max(c.life, answering)
	if !opened {
		c.hears(overdue)
	}
}

// shut notes that our side is shut down, or that this has failed. arrived says that the peer has
// everything that we sent: if the peer began the close, there is nothing left to wait for. A peer
// that got no close frame, because a frame before it was cut, gets no more time.
func (c *closing) shut(failed, arrived bool) {
	c.life = max(c.life, lingering)
	if failed || c.cut != nil || c.peer == began && arrived {
		c.hears(silent)
	}
}

// hears notes what the peer has done. If our close frame was sent first, the peer's close frame
// is the last frame that it sends. If the peer begins the close, it still answers pings until it
// has our close frame (RFC 6455 section 5.5.2).
func (c *closing) hears(e end) {
	if e == began && c.said != nobody {
		e = silent
	}
	c.peer = max(c.peer, e)
}

// move advances life if there is nothing left to wait for, and returns it. The close handshake is
// complete when the peer and the library have each sent a close frame (RFC 6455 section 7.1.1). A
// pool's close frame is not enough: the library has yet to read the peer's, and answers it.
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
