package libraries

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// errBreach is returned for anything that a server must not send.
var errBreach = errors.New("breach of RFC 6455")

const (
	opText   byte = 0x1
	opBinary byte = 0x2
	opClose  byte = 0x8
	opPing   byte = 0x9
	opPong   byte = 0xa

	final byte = 0x80
	rsv1  byte = 0x40
)

// messageMost is more than any library here sends, so that a misplaced header is noticed before
// the client waits for its payload.
const messageMost = 4 << 20

// A wire reads the stream that a server sends after its handshake.
type wire struct {
	in       *bufio.Reader
	deflate  bool // permessage-deflate was agreed on
	takeover bool // the server also keeps its context between messages

	open    bool // inside a message
	message event
	window  []byte // the server's context: the tail of the decompressed data
	closed  bool
	part    []byte // of a payload that did not arrive whole
}

// An event is a message, or a control frame.
type event struct {
	op      byte
	payload []byte
	frames  int
	deflate bool
}

// code is the status of a close frame.
func (e event) code() int {
	if len(e.payload) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16(e.payload))
}

// next returns the next message, whole and decompressed, or the next control frame.
func (w *wire) next() (event, error) {
	for {
		first, payload, err := w.frame()
		if err != nil {
			return event{}, err
		}
		op := first & 0xf
		if op >= opClose {
			return event{op: op, payload: payload, frames: 1}, nil
		}
		if op != 0 {
			w.message = event{op: op, deflate: first&rsv1 != 0}
		}
		w.message.payload = append(w.message.payload, payload...)
		w.message.frames++
		if first&final == 0 {
			continue
		}
		if w.message.deflate {
			w.message.payload, err = w.inflate(w.message.payload)
		}
		return w.message, err
	}
}

// frame returns the first byte and the payload of the next frame. Its error is io.EOF at the
// end of the stream, unless an end there is a breach.
func (w *wire) frame() (first byte, payload []byte, err error) {
	first, err = w.in.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	if w.closed {
		return 0, nil, fmt.Errorf("%w: %x after the close frame", errBreach, first)
	}
	second, err := w.in.ReadByte()
	if err != nil {
		return 0, nil, inside(err)
	}
	if err := w.check(first, second); err != nil {
		return 0, nil, err
	}
	n, err := w.length(second)
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	if got, err := io.ReadFull(w.in, payload); err != nil {
		w.part = payload[:got]
		return 0, nil, inside(err)
	}
	switch op := first & 0xf; {
	case op == opClose:
		w.closed = true
		return first, payload, checkClose(payload)
	case op < opClose:
		w.open = first&final == 0
	}
	return first, payload, nil
}

// check judges the first two bytes of a frame.
func (w *wire) check(first, second byte) error {
	op, fin := first&0xf, first&final != 0
	wrong := ""
	switch {
	case second&0x80 != 0:
		wrong = "a masked frame"
	case op > opBinary && op < opClose || op > opPong:
		wrong = "an unknown opcode"
	case first&0x30 != 0:
		wrong = "RSV2 or RSV3"
	case op >= opClose && (!fin || second > 125):
		wrong = "a control frame that is long or a fragment"
	case op == 0 && !w.open:
		wrong = "a continuation of no message"
	case (op == opText || op == opBinary) && w.open:
		wrong = "a message inside another"
	case first&rsv1 != 0 && (!w.deflate || op != opText && op != opBinary):
		wrong = "RSV1 where nothing is compressed"
	}
	if wrong != "" {
		return fmt.Errorf("%w: %s: %02x %02x", errBreach, wrong, first, second)
	}
	return nil
}

// length returns the length of a payload, which must be encoded in the shortest form.
func (w *wire) length(second byte) (uint64, error) {
	size, least := 0, uint64(0)
	switch second {
	case 126:
		size, least = 2, 126
	case 127:
		size, least = 8, 1<<16
	default:
		return uint64(second), nil
	}
	b := make([]byte, 8)
	if _, err := io.ReadFull(w.in, b[8-size:]); err != nil {
		return 0, inside(err)
	}
	n := binary.BigEndian.Uint64(b)
	if n < least || n > messageMost {
		return 0, fmt.Errorf("%w: a length of %d in %d bytes", errBreach, n, size)
	}
	return n, nil
}

func checkClose(payload []byte) error {
	if len(payload) == 0 {
		return nil
	}
	code := event{payload: payload}.code()
	if len(payload) == 1 || code < 1000 || code >= 5000 || code >= 1004 && code <= 1006 || code >= 1015 && code < 3000 {
		return fmt.Errorf("%w: a close frame of %x", errBreach, payload)
	}
	return nil
}

// inflate decompresses a message (RFC 7692 section 7.2.2).
func (w *wire) inflate(p []byte) ([]byte, error) {
	r := flate.NewReaderDict(io.MultiReader(bytes.NewReader(p),
		bytes.NewReader([]byte{0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff})), w.window)
	p, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%w: not a compressed message: %w", errBreach, err)
	}
	if w.takeover {
		w.window = append(w.window, p...)
		w.window = bytes.Clone(w.window[max(0, len(w.window)-1<<15):])
	}
	return p, nil
}

// inside returns the error of a read inside a frame, where the stream must not end.
func inside(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
