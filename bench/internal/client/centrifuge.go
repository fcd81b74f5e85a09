package client

import (
	"encoding/binary"
	"fmt"
)

// centrifugeConnect is a frame with the command {id: 1, connect: {}} of centrifugal's client
// protocol, in Protobuf with its length in front.
var centrifugeConnect = masked(binaryFrame, []byte{4, 0x08, 1, 0x22, 0})

// The Protobuf keys (field number and wire type) on the way to a publication's data, and
// the key of the reply to connect.
const (
	replyConnect = 5<<3 | 2
	replyError   = 2<<3 | 2
	replyPush    = 4<<3 | 2
	pushPub      = 4<<3 | 2
	pubData      = 4<<3 | 2
)

// replies checks the replies of one frame; each has its length in front.
func (c *conn) replies(body []byte, t *round, now int64) error {
	for len(body) > 0 {
		size, n := binary.Uvarint(body)
		if n <= 0 || size > uint64(len(body)-n) {
			return fmt.Errorf("user %d: a reply of %d bytes in %d", c.user, size, len(body)-n)
		}
		reply := body[n : n+int(size)]
		body = body[n+int(size):]
		if len(reply) == 0 { // a ping, answered with an empty command
			c.socket.write(masked(binaryFrame, []byte{0}))
			continue
		}
		if err := c.reply(reply, t, now); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) reply(reply []byte, t *round, now int64) error {
	if _, ok := field(reply, replyConnect); ok {
		return nil
	}
	if text, ok := field(reply, replyError); ok {
		return fmt.Errorf("user %d: the server says %q", c.user, text)
	}
	push, ok1 := field(reply, replyPush)
	pub, ok2 := field(push, pushPub)
	data, ok3 := field(pub, pubData)
	if !ok1 || !ok2 || !ok3 {
		return fmt.Errorf("user %d: a reply without a publication: %x", c.user, reply)
	}
	return c.message(data, t, now)
}

// field returns the first length-delimited field with the key in a Protobuf
// message. Only keys of one byte occur.
func field(message []byte, key byte) ([]byte, bool) {
	for len(message) > 1 {
		value, n := binary.Uvarint(message[1:])
		if n <= 0 {
			return nil, false
		}
		k, rest := message[0], message[1+n:]
		if k&7 == 0 { // a varint
			message = rest
			continue
		}
		if k&7 != 2 || value > uint64(len(rest)) {
			return nil, false
		}
		if k == key {
			return rest[:value], true
		}
		message = rest[value:]
	}
	return nil, false
}
