package cluster

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
)

// long is the size of the longest name, in bytes, that goes into a subject unhashed. Longer names
// are hashed, because NATS limits a line of its protocol to 4 KiB.
const long = 64

// token encodes a name so that none of its characters means anything to NATS.
func token(name string) string {
	switch {
	case name == "":
		return "="
	case len(name) > long:
		sum := sha256.Sum256([]byte(name))
		return "=" + base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return base64.RawURLEncoding.EncodeToString([]byte(name))
}

// subject joins the prefix and tokens.
func (n *bus) subject(tokens ...string) string {
	return n.prefix + "." + strings.Join(tokens, ".")
}

// subjectOf returns the subject of messages for an id.
func (n *bus) subjectOf(k key) string { return n.subject("m", token(k.pool), token(k.id)) }

// plain reports whether node looks like an id that nuid makes. Such an id is safe in a subject.
func plain(node string) bool {
	return len(node) == 22 && !strings.ContainsFunc(node, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// numbered returns the number of a request of node. It is the last token of the reply subject.
func (n *bus) numbered(reply, node string) (uint64, bool) {
	digits, ok := strings.CutPrefix(reply, n.subject("r", node, ""))
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, ok && err == nil
}

// appendString appends the length of s, and s.
func appendString[S string | []byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A decoder decodes a message that came over NATS. It does not trust the message: once something
// is missing, bad is true and all further values are empty.
type decoder struct {
	left []byte
	bad  bool
}

// number returns a number, or a kind: a kind is an ASCII letter, which is also a one-byte varint.
func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.left)
	if n <= 0 {
		d.left, d.bad = nil, true
		return 0
	}
	d.left = d.left[n:]
	return v
}

// bytes returns a part of the message, without copying it.
func (d *decoder) bytes() []byte {
	n := d.number()
	if n > uint64(len(d.left)) {
		d.left, d.bad = nil, true
		return nil
	}
	b := d.left[:n:n]
	d.left = d.left[n:]
	return b
}

func (d *decoder) string() string { return string(d.bytes()) }

// more reports whether anything is left.
func (d *decoder) more() bool { return len(d.left) > 0 && !d.bad }
