package cluster

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
)

// long is how many bytes a name may have that is readable in its subject; NATS
// bounds a line of its protocol to 4 KiB.
const long = 64

// token encodes a name so that nothing in it can mean anything to NATS.
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

// subject joins tokens behind the prefix.
func (n *bus) subject(tokens ...string) string {
	return n.prefix + "." + strings.Join(tokens, ".")
}

// subjectOf is where messages for an id go.
func (n *bus) subjectOf(k key) string { return n.subject("m", token(k.pool), token(k.id)) }

// plain reports whether a node's id is what nuid makes, and so safe in a subject.
func plain(node string) bool {
	return len(node) == 22 && !strings.ContainsFunc(node, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// numbered takes the number of a request from where its answer is to go.
func (n *bus) numbered(reply, node string) (uint64, bool) {
	digits, ok := strings.CutPrefix(reply, n.subject("r", node, ""))
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, ok && err == nil
}

// appendString appends s and its length.
func appendString[S string | []byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A decoder takes apart what came over NATS, which is not trusted: once
// something is missing, all that follows is empty, and bad is true.
type decoder struct {
	left []byte
	bad  bool
}

func (d *decoder) byte() byte {
	if len(d.left) == 0 {
		d.bad = true
		return 0
	}
	b := d.left[0]
	d.left = d.left[1:]
	return b
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.left)
	if n <= 0 {
		d.left, d.bad = nil, true
		return 0
	}
	d.left = d.left[n:]
	return v
}

// bytes returns a part of what came.
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

// more reports whether there is anything left.
func (d *decoder) more() bool { return len(d.left) > 0 && !d.bad }
