package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A Message is what travels through the pool. It says where it comes from and where it belongs,
// so that it can be judged on its own wherever it turns up.
type Message struct {
	Producer   uint32
	Generation uint32 // of the id's connection when the message was sent
	Sequence   uint64 // counts from 1, per producer and id
	ID         string
	Size       int // of the whole encoding, with filling; at least Overhead and the id
}

// Overhead is the size of a message for an empty id.
const Overhead = 32

// MaxSize is the largest length that a reader accepts.
const MaxSize = 64 << 20

const magic = 0x67630a70 // contains a newline

var (
	// ErrCorrupt is returned for bytes that are not a message.
	ErrCorrupt = errors.New("ledger: not a message")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Append appends the encoding of m to b: magic, length, checksum, producer, generation, sequence,
// length of the id, id, filling. The filling contains every byte value, including newlines.
func Append(b []byte, m Message) []byte {
	from := len(b)
	size := max(m.Size, Overhead+len(m.ID))
	b = binary.BigEndian.AppendUint32(b, magic)
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, m.Producer)
	b = binary.BigEndian.AppendUint32(b, m.Generation)
	b = binary.BigEndian.AppendUint64(b, m.Sequence)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.ID)))
	b = append(b, m.ID...)
	for i := byte(m.Sequence); len(b)-from < size; i++ {
		b = append(b, i)
	}
	binary.BigEndian.PutUint32(b[from+8:], crc32.Checksum(b[from+12:], castagnoli))
	return b
}

// Length returns the length of the message that head begins with. It needs the first 8 bytes.
func Length(head []byte) (int, error) {
	if len(head) < 8 || binary.BigEndian.Uint32(head) != magic {
		return 0, fmt.Errorf("%w: %.8x", ErrCorrupt, head)
	}
	n := binary.BigEndian.Uint32(head[4:])
	if n < Overhead || n > MaxSize {
		return 0, fmt.Errorf("%w: of %d bytes", ErrCorrupt, n)
	}
	return int(n), nil
}

// Decode returns the message encoded in data, which must be complete.
func Decode(data []byte) (Message, error) {
	m, id, err := decode(data)
	m.ID = string(id)
	return m, err
}

// decode returns the id as a part of data, without a copy.
func decode(data []byte) (m Message, id []byte, err error) {
	n, err := Length(data)
	if err != nil {
		return m, nil, err
	}
	if n != len(data) {
		return m, nil, fmt.Errorf("%w: %d bytes instead of %d", ErrCorrupt, len(data), n)
	}
	if binary.BigEndian.Uint32(data[8:]) != crc32.Checksum(data[12:], castagnoli) {
		return m, nil, fmt.Errorf("%w: wrong checksum", ErrCorrupt)
	}
	m, id, _ = header(data)
	return m, id, nil
}

// header reads the fields before the filling, without checking them. The filling may be cut.
func header(data []byte) (m Message, id []byte, ok bool) {
	if len(data) < Overhead {
		return m, nil, false
	}
	m.Size = int(binary.BigEndian.Uint32(data[4:]))
	m.Producer = binary.BigEndian.Uint32(data[12:])
	m.Generation = binary.BigEndian.Uint32(data[16:])
	m.Sequence = binary.BigEndian.Uint64(data[20:])
	n := int(binary.BigEndian.Uint32(data[28:]))
	if n > len(data)-Overhead {
		return m, nil, false
	}
	return m, data[Overhead : Overhead+n], true
}
