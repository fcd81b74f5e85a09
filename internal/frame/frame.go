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

// Append appends one unmasked frame with payload to b, and ends the payload with a
// newline if told to.
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
	start = headerSize(b[1])
	return start, start + int(payloadSize(b))
}

// headerSize returns the size of a header with that second byte.
func headerSize(second byte) (n int) {
	n = 2
	switch second &^ masked {
	case 126:
		n = 4
	case 127:
		n = 10
	}
	if second&masked != 0 {
		n += 4
	}
	return n
}

// payloadSize returns the size of the payload that a header announces.
func payloadSize(header []byte) uint64 {
	switch n := header[1] &^ masked; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(header[2:]))
	case 127:
		return binary.BigEndian.Uint64(header[2:])
	default:
		return uint64(n)
	}
}
