package upgrade

import (
	"net"
	"time"

	"github.com/nulijiabei/gcpool/internal/socket"
)

// SetDeadline, SetReadDeadline and SetWriteDeadline are the library's. A write deadline
// bounds its data writes, and what they wait for their turn, and nobody else's.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *Conn) SetReadDeadline(t time.Time) error {
	err := socket.Guard(func() error { return c.Conn.SetReadDeadline(t) })
	if c.Ending() { // perhaps since just now: all reads have a bound then
		_ = socket.Guard(func() error { return c.Conn.SetReadDeadline(time.Now().Add(closeGrace)) })
		return net.ErrClosed
	}
	return err
}

func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	if c.closing.life != alive {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.deadline = t
	c.mu.wake()
	c.mu.Unlock()
	return c.applyDeadline()
}

// applyDeadline gives the socket the write deadline that holds now.
func (c *Conn) applyDeadline() error {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	var t time.Time
	c.mu.Lock()
	switch {
	case c.closing.life == ended:
		t = socket.Past
	case c.turns.turn == library:
		t = c.deadline
	}
	c.mu.Unlock()
	if t.IsZero() && !c.limited {
		return nil
	}
	c.limited = !t.IsZero()
	return socket.Guard(func() error { return c.Conn.SetWriteDeadline(t) })
}
