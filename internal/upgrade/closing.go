package upgrade

import (
	"fmt"
	"net"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// life is how far a Conn is from its end.
//
//	alive     -> ending      the library or a pool closes it, or both sides have said close frames
//	ending    -> lingering   what was due is out, and our side is shut
//	any       -> ended       the peer has closed, a bound was reached, or Kill
type life uint8

const (
	alive life = iota
	ending
	lingering
	ended
)

// Who has said a close frame is a writer. The first frame is the only one that is sent.
//
//	nobody -> pool       or we, for a library that closes without one
//	any    -> library    it has written one, which waits for the peer's

// dropMost is how many bytes are dropped at most while a socket lingers.
const dropMost = 8 << 20

var errCloseSent = fmt.Errorf("gcpool: close frame sent: %w", net.ErrClosed)

// closing is how far the close of a Conn has come. It only records and decides; close.go acts.
type closing struct {
	life    life
	said    writer // of a close frame
	done    bool   // the peer sends nothing any more, or is not waited for
	dropped int32  // bytes, while lingering
	cut     error  // what has cut a frame in the middle for good
}

// refusal returns why w may write no more. After a close frame nobody sends data (RFC 6455
// section 5.5.1); the library may end the frame that it has begun, and answer the
// handshake, which a goodbye of the pool's waits for.
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

// say reports whether a control frame is to be sent. What comes after a close frame is
// dropped: the library's answer to the pool's, too.
func (c *closing) say(f []byte, by writer) (send bool, err error) {
	switch {
	case c.cut != nil:
		return false, c.cut
	case c.said == nobody && c.life != alive:
		return false, net.ErrClosed
	}
	send = c.said == nobody
	if f[0]&0xf == frame.Close {
		c.said = max(c.said, by)
	}
	return send, nil
}

// ask begins the close, if that makes sense: a close frame was said, or is to be. Who has not
// answered that of a pool is not waited for again.
func (c *closing) ask(status bool) {
	switch {
	case c.life != alive:
	case c.cut != nil, !status && c.said == nobody:
		c.life = ended
	default:
		c.life = ending
		c.done = c.done || !status && c.said == pool
	}
}

// shut notes that our side is shut, or that it cannot be.
func (c *closing) shut(failed bool) {
	if c.life == ending {
		c.life = lingering
	}
	c.done = c.done || failed
}

// came notes that n bytes have come, and whether nothing will follow. It reports whether the
// bytes are dropped, and whether more may come. A library that has said a close frame waits
// for the peer's, so they are its own, unless its handler has returned.
func (c *closing) came(n int, over, returned bool) (drops, more bool) {
	drops = c.life != alive && (returned || c.said != library)
	if drops && c.life == lingering { // before that, our close frame is still on its way
		c.dropped += int32(n)
	}
	c.done = c.done || over || c.dropped > dropMost
	return drops, c.life != ended && !c.done
}

// move moves the life on, and returns it. With the peer's close frame and the library's there
// is nothing to wait for (RFC 6455 section 7.1.1). But what came with the peer's is for the
// library, which answers it after a close frame of the pool's as well.
func (c *closing) move() life {
	switch {
	case c.life == lingering && c.done:
		c.life = ended
	case c.life == alive && c.done && c.said == library:
		c.ask(true)
	}
	return c.life
}
