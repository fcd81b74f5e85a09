// Package frame knows the bytes of RFC 6455 section 5.2. It writes whole frames and
// follows frames that others write in pieces. It knows no connections.
package frame

import "encoding/binary"

// The opcodes that a server sends.
const (
	Text   byte = 0x1
	Binary byte = 0x2
	Close  byte = 0x8
	Ping   byte = 0x9
	Pong   byte = 0xa
)

const (
	final   byte = 0x80 // in the first byte: the last frame of its message
	masked  byte = 0x80 // in the second byte: four bytes of a mask end the header
	control byte = 0x08 // in the opcode: a control frame
)

// Overhead is the most that Append adds to a payload: a header and a newline.
const Overhead = 10 + 1

// Append appends one unmasked frame with payload to b. If newline is true, a newline ends the
// payload.
func Append(b []byte, op byte, payload []byte, newline bool) []byte {
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

// Bounds returns where the payload of the first frame of b starts and where it ends.
// b must start with a frame that Append made.
func Bounds(b []byte) (start, end int) {
	start, payload := sizes(b)
	return start, start + int(payload)
}

// sizes returns the size of a header, and of the payload that it announces.
func sizes(head []byte) (header int, payload uint64) {
	header, payload = 2, uint64(head[1]&^masked)
	switch payload {
	case 126:
		header, payload = 4, uint64(binary.BigEndian.Uint16(head[2:]))
	case 127:
		header, payload = 10, binary.BigEndian.Uint64(head[2:])
	}
	if head[1]&masked != 0 {
		header += 4
	}
	return header, payload
}
