package client

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool/bench/internal/payload"
	"github.com/nulijiabei/gcpool/bench/internal/peers"
)

// message returns a payload for user 3.
func message(size int, sequence int64) []byte {
	p := payload.New(size)
	payload.Stamp(p, 3, sequence, 0)
	return p
}

func frame(first byte, body []byte) []byte {
	switch n := len(body); {
	case n < 126:
		return append([]byte{first, byte(n)}, body...)
	case n < 1<<16:
		return append(binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(n)), body...)
	default:
		return append(binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(n)), body...)
	}
}

func TestFramesAreReadWhereverTheyAreCut(t *testing.T) {
	for _, size := range []int{64, 1000, payload.Max} {
		stream := join(frame(textFrame, message(size, 0)), frame(pongFrame, nil), frame(binaryFrame, message(size, 1)))
		for _, step := range []int{1, 7, 100, len(stream)} {
			if size == payload.Max && step == 1 {
				continue
			}
			var r round
			r.reset(Prepare{Size: size})
			c := &conn{user: 3, dialect: peers.Plain}
			for rest := stream; len(rest) > 0; {
				n := min(step, len(rest))
				left, err := c.feed(append(c.left, rest[:n]...), &r, 0)
				if err != nil {
					t.Fatal(err)
				}
				c.left, rest = bytes.Clone(left), rest[n:]
			}
			if r.count != 2 || len(c.left) != 0 {
				t.Errorf("size %d, step %d: %d messages and %d bytes left", size, step, r.count, len(c.left))
			}
		}
	}
}

func join(all ...[]byte) []byte { return bytes.Join(all, nil) }

func TestFaultyFramesAreFound(t *testing.T) {
	m := message(64, 0)
	late := message(64, 0)
	payload.Stamp(late, 3, 0, 1)
	for name, test := range map[string]struct {
		stream []byte
		fault  string
	}{
		"masked":            {append([]byte{textFrame, 0x80 | 64, 0, 0, 0, 0}, m...), "masked"},
		"length too long":   {append([]byte{textFrame, 126, 0, 64}, m...), "length says 64 in 2 bytes"},
		"length negative":   {append([]byte{textFrame, 127, 0xff, 0, 0, 0, 0, 0, 0, 0}, m...), "length says"},
		"fragmented":        {frame(0x01, m), "unexpected kind, 0x01"},
		"reserved bit":      {frame(0xc1, m), "unexpected kind, 0xc1"},
		"closed":            {frame(closeFrame, []byte{0x03, 0xe9}), "closed by the server"},
		"too short":         {frame(textFrame, m[:10]), "payload of 10 bytes"},
		"a time from afar":  {frame(textFrame, late), "impossible time"},
		"another's message": {frame(textFrame, bytes.Replace(m, m[:3], []byte{4, 0, 0}, 1)), "a message for user 4"},
	} {
		t.Run(name, func(t *testing.T) {
			var r round
			r.reset(Prepare{Size: 64})
			c := &conn{user: 3, dialect: peers.Plain}
			if _, err := c.feed(test.stream, &r, 0); err == nil || !strings.Contains(err.Error(), test.fault) {
				t.Errorf("error %v, want %q", err, test.fault)
			}
		})
	}
}
