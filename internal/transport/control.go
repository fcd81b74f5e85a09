package transport

import (
	"net"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// controlMost is the longest control frame of a server (RFC 6455 section 5.5).
const controlMost = 2 + 125

// controlTime is how long a control frame may wait for room in the socket of a peer whose
// system acknowledges nothing.
const controlTime = 10 * time.Second

// waitForRoom writes the rest of control frames. A peer that pings and does not read is
// closed when its system has acknowledged nothing for as long as patience.
func (c *Conn) waitForRoom(due []byte, patience time.Duration) {
	over := make(chan struct{})
	go func() {
		for before := c.acked(); ; {
			select {
			case <-over:
				return
			case <-time.After(patience):
			}
			now := c.acked()
			if now == before {
				c.kill()
				return
			}
			before = now
		}
	}()
	_, err := c.put(due, func(int) {})
	close(over)
	if err != nil {
		c.fail(err)
	}
	c.release()
}

// acked is how far the peer's system has come, as far as that can be told.
func (c *Conn) acked() (p Progress) {
	socket(under(c.Conn), func(fd uintptr) { p.left, p.acked = acknowledged(fd) })
	return p
}

// send has a control frame sent at the next end of a frame, and never waits. There is
// one place for each kind, and the newest has it. What comes after a close frame is
// dropped: the library's answer to the pool's, too.
func (c *Conn) send(f []byte, by closeFrame) error {
	c.mu.Lock()
	switch {
	case c.err != nil:
		defer c.mu.Unlock()
		return c.err
	case c.said != unsaid:
		c.mu.Unlock()
		return nil
	case c.life != alive:
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.sendLocked(f, by)
	c.startLocked()
	return nil
}

// sendLocked puts f where release finds it. A pool's ping does not replace the library's,
// which waits for an answer to the payload of its own. What is due may have a mask, if the
// library knows no better.
func (c *Conn) sendLocked(f []byte, by closeFrame) {
	for i := 0; i < len(c.due); {
		var due frame.Parser
		n, _ := due.Next(c.due[i:])
		end := i + n
		if c.due[i]&0xf != f[0]&0xf {
			i = end
			continue
		}
		if by == byPool {
			return
		}
		c.due = slices.Delete(c.due, i, end)
	}
	c.due = append(c.due, f...)
	if f[0]&0xf == frame.Close {
		c.said = by
	}
}
