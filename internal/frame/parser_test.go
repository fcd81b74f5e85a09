package frame

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// header returns a frame header whose length field has the given form: 0, 126 or 127.
func header(first byte, form byte, n int, mask bool) []byte {
	second := byte(n)
	if form != 0 {
		second = form
	}
	if mask {
		second |= masked
	}
	b := []byte{first, second}
	switch form {
	case 126:
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	case 127:
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if mask {
		b = append(b, 1, 2, 3, 4)
	}
	return b
}

// TestParserFollowsAnySplit splits random frames, with every form of header, into random
// pieces, some of them empty, and checks the parser's state after each byte.
func TestParserFollowsAnySplit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		type at struct{ ended, open, cut bool }
		var stream []byte
		var want []at // the state after each byte
		open := false
		want = append(want, at{})
		for range 20 {
			first, n := byte(rnd.IntN(3)), rnd.IntN(300)
			if rnd.IntN(2) == 0 {
				first |= final
			}
			if isControl := rnd.IntN(3) == 0; isControl {
				first, n = final|control|byte(rnd.IntN(3)), rnd.IntN(126)
			}
			form := []byte{126, 127}[rnd.IntN(2)]
			if n < 126 && (first&control != 0 || rnd.IntN(2) == 0) {
				form = 0
			}
			f := append(header(first, form, n, rnd.IntN(2) == 0), make([]byte, n)...)
			data := first&control == 0
			for range f[1:] {
				want = append(want, at{open: open || data, cut: data})
			}
			if data {
				open = first&final == 0
			}
			want = append(want, at{ended: true, open: open})
			stream = append(stream, f...)
		}
		var p Parser
		for pos := 0; pos < len(stream); {
			piece := stream[pos:min(len(stream), pos+rnd.IntN(40))]
			for {
				n, ended := p.Next(piece)
				pos, piece = pos+n, piece[n:]
				if n > 0 {
					got := at{ended: ended, open: p.Open(), cut: p.Cut()}
					if got != want[pos] {
						t.Fatalf("after byte %d: %+v, want %+v", pos, got, want[pos])
					}
				}
				if len(piece) == 0 {
					break
				}
			}
		}
	}
}

func TestAppendAndBoundsAgreeWithTheParser(t *testing.T) {
	for _, n := range []int{0, 1, 124, 125, 126, 0xfffe, 0xffff, 0x10000} {
		for _, newline := range []bool{false, true} {
			payload := bytes.Repeat([]byte{'x'}, n)
			f := Append(nil, Binary, payload, newline)
			start, end := Bounds(f)
			if newline {
				payload = append(payload, '\n')
			}
			if end != len(f) || !bytes.Equal(f[start:end], payload) || len(f) > n+Overhead {
				t.Errorf("%d bytes, newline %v: payload from %d to %d of %d", n, newline, start, end, len(f))
			}
			var p Parser
			if took, ended := p.Next(append(f, 0x89)); took != len(f) || !ended || p.Opcode() != Binary || p.Open() {
				t.Errorf("%d bytes, newline %v: the parser took %d of %d, ended: %v", n, newline, took, len(f), ended)
			}
		}
	}
}
