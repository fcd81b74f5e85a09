// Package payload makes the messages of the benchmark and checks them.
//
// A payload is a header of 17 bytes (user, sequence number, time) and a fixed
// pattern up to its size. Every byte is below 0x80, so the payload is valid UTF-8 and can
// travel in a text frame. Seven bits in each byte cost less than hex.
package payload

import (
	"bytes"
	"fmt"
)

const (
	// Header is the size of the smallest payload.
	Header = userBytes + sequenceBytes + timeBytes
	// Everyone is the user of a broadcast.
	Everyone = 1<<(7*userBytes) - 1
	// Max is the size of the largest payload.
	Max = 64 << 10

	userBytes     = 3
	sequenceBytes = 5
	timeBytes     = 9
)

var pattern = func() []byte {
	p := make([]byte, Max)
	for i := range p {
		p[i] = ' ' + byte(i%89)
	}
	return p
}()

// New returns a payload of size bytes, with an empty header.
func New(size int) []byte { return bytes.Clone(pattern[:max(size, Header)]) }

// Stamp writes the header of p.
func Stamp(p []byte, user int, sequence, time int64) {
	_ = p[Header-1]
	put(p[:userBytes], int64(user))
	put(p[userBytes:userBytes+sequenceBytes], sequence)
	put(p[userBytes+sequenceBytes:Header], time)
}

// Check returns the time of p. It returns an error unless New and Stamp made p for the user,
// or for everyone, and for that sequence number.
func Check(p []byte, user int, sequence int64) (time int64, err error) {
	if len(p) < Header || len(p) > Max {
		return 0, fmt.Errorf("user %d: a payload of %d bytes", user, len(p))
	}
	if to := get(p[:userBytes]); to != int64(user) && to != Everyone {
		return 0, fmt.Errorf("user %d: a message for user %d", user, to)
	}
	if s := get(p[userBytes : userBytes+sequenceBytes]); s != sequence {
		return 0, fmt.Errorf("user %d: message %d where %d was due: lost, doubled or out of order", user, s, sequence)
	}
	if !bytes.Equal(p[Header:], pattern[Header:len(p)]) {
		return 0, fmt.Errorf("user %d: message %d is not the bytes that were sent", user, sequence)
	}
	return get(p[userBytes+sequenceBytes : Header]), nil
}

func put(p []byte, v int64) {
	for i := range p {
		p[i] = byte(v & 0x7f)
		v >>= 7
	}
}

func get(p []byte) (v int64) {
	for i := len(p) - 1; i >= 0; i-- {
		v = v<<7 | int64(p[i])
	}
	return v
}
