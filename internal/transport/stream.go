package transport

import (
	"crypto/tls"
	"math/bits"
	"net"
	"sync"
	"sync/atomic"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// stream is a connection that keeps no boundaries: messages end with a newline, and all that
// fit into a piece leave in one write.
type stream struct{ raw }

func (s *stream) Kind() string { return "stream" }

func streams(conn net.Conn) bool {
	_, secure := conn.(*tls.Conn)
	return secure || socket.System(conn)
}

func (s *stream) Send(frames []byte, progress func(n int)) (n int, err error) {
	for n < len(frames) && err == nil {
		if n > 0 {
			progress(n)
		}
		m := 0
		m, err = s.sendPiece(frames[n:], func(int) { progress(n) })
		n += m
	}
	return n, err
}

// sendPiece writes the payloads of the first messages, together.
func (s *stream) sendPiece(frames []byte, progress func(n int)) (n int, err error) {
	start, next := frame.Bounds(frames)
	batch := frames[start:next]
	if next < len(frames) && len(batch) < socket.Piece {
		size := bits.Len(uint(min(len(frames), socket.Piece) - 1))
		scratch, _ := scratches[size].Get().(*[]byte)
		if scratch == nil {
			scratch = new(make([]byte, 0, 1<<size))
		}
		defer scratches[size].Put(scratch)
		batch = append(*scratch, batch...)
		for next < len(frames) {
			start, end := frame.Bounds(frames[next:])
			if len(batch)+end-start > socket.Piece {
				break
			}
			batch = append(batch, frames[next+start:next+end]...)
			next += end
		}
	}
	went, err := socket.WritePieces(s.conn, batch, new(atomic.Uint64), progress)
	for err != nil && n < next { // where it stopped
		start, end := frame.Bounds(frames[n:])
		if went < end-start {
			return n + min(went, 1), err
		}
		went -= end - start
		n += end
	}
	return next, err
}

// scratches are the buffers of 1<<i bytes in which sendPiece gathers payloads. Their sizes
// differ so that a peer that does not read keeps a buffer no larger than its payloads.
var scratches [17]sync.Pool
