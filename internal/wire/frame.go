// Package wire knows how a message travels: the frames of RFC 6455 and the
// kinds of connection that a pool can write them to.
package wire

import "encoding/binary"

// The opcodes of RFC 6455 section 5.2 that a pool sends.
const (
	Text   byte = 0x1
	Binary byte = 0x2
	Close  byte = 0x8
	Ping   byte = 0x9
)

// final marks the last fragment of a message; a pool never fragments.
const final byte = 0x80

// Overhead is the most that AppendFrame adds to a payload: a header and a newline.
const Overhead = 10 + 1

// AppendFrame appends one unmasked frame with the payload, and a newline if so
// told, to b.
func AppendFrame(b []byte, op byte, payload []byte, newline bool) []byte {
	n := len(payload)
	if newline {
		n++
	}
	switch {
	case n <= 125:
		b = append(b, final|op, byte(n))
	case n <= 0xffff:
		b = append(b, final|op, 126, byte(n>>8), byte(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, final|op, 127), uint64(n))
	}
	b = append(b, payload...)
	if newline {
		b = append(b, '\n')
	}
	return b
}

// Frame returns where the payload of the first frame of b starts and where it
// ends. b must start with a frame that AppendFrame made.
func Frame(b []byte) (start, end int) {
	switch b[1] {
	case 126:
		return 4, 4 + int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return 10, 10 + int(binary.BigEndian.Uint64(b[2:]))
	}
	return 2, 2 + int(b[1])
}
