package socket

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
)

// odd is a connection of the application's own type that breaks rules.
type odd struct {
	net.Conn
	write func(p []byte) (int, error)
}

func (o odd) Write(p []byte) (int, error) { return o.write(p) }

// TestWriteKeepsTheRules: Write obeys the rules of io.Writer, whatever the connection does.
func TestWriteKeepsTheRules(t *testing.T) {
	broken := errors.New("broken")
	for what, test := range map[string]struct {
		write func(p []byte) (int, error)
		n     int
		err   error // nil stands for any error, if n is short
	}{
		"all":                     {func(p []byte) (int, error) { return len(p), nil }, 4, nil},
		"too much":                {func(p []byte) (int, error) { return 9, nil }, 4, nil},
		"all, and an error":       {func(p []byte) (int, error) { return len(p), broken }, 4, broken},
		"less than nothing":       {func(p []byte) (int, error) { return -1, broken }, 0, broken},
		"a part without an error": {func(p []byte) (int, error) { return 3, nil }, 3, io.ErrShortWrite},
		"a panic":                 {func(p []byte) (int, error) { panic("no") }, 1, nil},
	} {
		n, err := Write(odd{write: test.write}, []byte("four"))
		if n != test.n || test.err != nil && err != test.err || (err == nil) != (n == 4 && test.err == nil) {
			t.Errorf("%s: %d, %v; want %d, %v", what, n, err, test.n, test.err)
		}
	}
}

// TestWritePiecesTellsProgress: WritePieces reports its progress
// between writes, and stops at an error.
func TestWritePiecesTellsProgress(t *testing.T) {
	left := 2*Piece + 10
	conn := odd{write: func(p []byte) (int, error) {
		n := min(len(p), left)
		left -= n
		return n, nil
	}}
	var progress []int
	var wrote atomic.Uint64
	n, err := WritePieces(conn, make([]byte, 4*Piece), &wrote, func(n int) { progress = append(progress, n) })
	if n != 2*Piece+10 || wrote.Load() != uint64(n) || err != io.ErrShortWrite || !slices.Equal(progress, []int{Piece, 2 * Piece}) {
		t.Errorf("%d, %v, after %v", n, err, progress)
	}
}
