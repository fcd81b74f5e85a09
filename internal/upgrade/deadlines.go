package upgrade

import (
	"net"
	"time"

	"github.com/nulijiabei/gcpool/internal/socket"
)

// SetDeadline, SetReadDeadline and SetWriteDeadline are for the library. A write deadline
// bounds only the library's own writes of data, and their wait for a turn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.Closed() {
		return net.ErrClosed
	}
	err := socket.Guard(func() error { return c.Conn.SetReadDeadline(t) })
	if c.Closed() { // the close has just begun
		limitReads(c.Conn)
	}
	return err
}

// limitReads bounds all reads of a connection whose close has begun.
func limitReads(conn net.Conn) {
	_ = socket.Guard(func() error { return conn.SetReadDeadline(time.Now().Add(closeGrace)) })
}

func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	if c.closing.begun() {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.deadline = t
	c.change.Wake()
	c.mu.Unlock()
	return c.applyDeadline()
}

// applyDeadline sets the write deadline of the socket to the one that applies now.
func (c *Conn) applyDeadline() error {
	var t time.Time
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.limiting {
		c.change.Wait(&c.mu, nil)
	}
	switch {
	case c.closing.life == ended:
		t = socket.Past
	case c.turns.turn == library:
		t = c.deadline
	}
	if t.IsZero() && !c.limited {
		return nil
	}
	c.limiting, c.limited = true, !t.IsZero()
	c.mu.Unlock()
	err := socket.Guard(func() error { return c.Conn.SetWriteDeadline(t) })
	c.mu.Lock()
	c.limiting = false
	c.change.Wake()
	return err
}
