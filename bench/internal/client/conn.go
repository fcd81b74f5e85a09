package client

import (
	"encoding/binary"
	"fmt"

	"github.com/nulijiabei/gcpool/bench/internal/payload"
	"github.com/nulijiabei/gcpool/bench/internal/peers"
)

// conn is one user's connection.
type conn struct {
	user    int
	dialect peers.Dialect
	socket  socket
	next    int64  // the sequence number that is due
	left    []byte // a frame that is not complete yet
	stalls  bool   // stops reading when told to
	stalled bool   // has stopped
}

// The first bytes of the frames that a server may send, all of them unfragmented
// (RFC 6455 section 5.2).
const (
	textFrame   = 0x81
	binaryFrame = 0x82
	closeFrame  = 0x88
	pingFrame   = 0x89
	pongFrame   = 0x8a
)

// maxFrame is more than any peer puts into a frame: centrifuge puts 16 messages.
const maxFrame = 32 * payload.Max

// feed checks every frame that is complete in b and returns the rest.
func (c *conn) feed(b []byte, t *round, now int64) (left []byte, err error) {
	for len(b) >= 2 {
		head, size, err := frameSize(b)
		if err != nil {
			return nil, fmt.Errorf("user %d: %w", c.user, err)
		}
		if head == 0 || len(b) < head+size {
			break
		}
		if err := c.frame(b[0], b[head:head+size], t, now); err != nil {
			return nil, err
		}
		b = b[head+size:]
	}
	return b, nil
}

// frameSize returns the sizes of the first frame's header and payload. The
// header's is 0 while it is incomplete.
func frameSize(b []byte) (head, size int, err error) {
	switch n := int(b[1]); {
	case n < 126:
		return 2, n, nil
	case n == 126 && len(b) >= 4:
		head, size = 4, int(binary.BigEndian.Uint16(b[2:]))
	case n == 127 && len(b) >= 10:
		head, size = 10, int(binary.BigEndian.Uint64(b[2:]))
	case n > 127:
		return 0, 0, fmt.Errorf("a masked frame from the server")
	default:
		return 0, 0, nil
	}
	if head == 4 && size < 126 || head == 10 && size < 1<<16 || size < 0 || size > maxFrame {
		return 0, 0, fmt.Errorf("a frame whose length says %d in %d bytes", size, head-2)
	}
	return head, size, nil
}

// frame checks one frame and answers pings.
func (c *conn) frame(first byte, body []byte, t *round, now int64) error {
	switch first {
	case textFrame, binaryFrame:
		if c.dialect == peers.Centrifuge {
			return c.replies(body, t, now)
		}
		return c.message(body, t, now)
	case pingFrame:
		c.socket.write(masked(pongFrame, body))
		return nil
	case pongFrame:
		return nil
	case closeFrame:
		return fmt.Errorf("user %d: closed by the server: %q", c.user, body)
	}
	return fmt.Errorf("user %d: a frame of an unexpected kind, 0x%02x", c.user, first)
}

// message checks one payload and counts it.
func (c *conn) message(body []byte, t *round, now int64) error {
	if len(body) != t.Size {
		return fmt.Errorf("user %d: a payload of %d bytes, not %d", c.user, len(body), t.Size)
	}
	due, err := payload.Check(body, c.user, c.next)
	if err != nil {
		return err
	}
	switch {
	case !t.Latency && due == 0:
	case t.Latency && due <= now && due > t.began:
		t.late = append(t.late, now-due)
	default:
		return fmt.Errorf("user %d: message %d has an impossible time", c.user, c.next)
	}
	c.next++
	t.count++
	t.last = now
	if !c.stalls {
		t.healthy++
	}
	return nil
}

// masked returns a frame from a client, with the mask 0. A server must accept this mask,
// and the client computes nothing (RFC 6455 section 5.3).
func masked(first byte, body []byte) []byte {
	return append([]byte{first, 0x80 | byte(len(body)), 0, 0, 0, 0}, body...)
}
