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

// stream is a connection without message boundaries: messages end with a newline, and waiting
// messages are written together, a piece at a time.
type stream struct{ raw }

func (s *stream) Kind() string { return "stream" }

// streams reports whether conn is one of Go's own connections without message boundaries. A Unix
// socket of packets or datagrams has boundaries.
func streams(conn net.Conn) bool {
	if _, secure := conn.(*tls.Conn); secure || !socket.System(conn) {
		return secure
	}
	addr := conn.LocalAddr() // nil for a zero UnixConn
	return addr == nil || addr.Network() == "unix" || addr.Network() == "tcp"
}

// Send reports progress in bytes of payload, which are fewer than the bytes of frames.
func (s *stream) Send(frames []byte, progress func(n int)) (n int, err error) {
	start, next := frame.Bounds(frames)
	batch := frames[start:next]
	if next < len(frames) {
		size := bits.Len(uint(len(frames) - 1))
		scratch, _ := scratches[size].Get().(*[]byte)
		if scratch == nil {
			scratch = new(make([]byte, 0, 1<<size))
		}
		defer scratches[size].Put(scratch)
		batch = append(*scratch, batch...)
		for next < len(frames) {
			start, end := frame.Bounds(frames[next:])
			batch = append(batch, frames[next+start:next+end]...)
			next += end
		}
	}
	went, err := socket.WritePieces(s.conn, batch, new(atomic.Uint64), progress)
	for err != nil && n < len(frames) { // find where the write stopped
		start, end := frame.Bounds(frames[n:])
		if went < end-start {
			return n + min(went, 1), err
		}
		went -= end - start
		n += end
	}
	return len(frames), err
}

// scratches[i] has buffers of 1<<i bytes, in which Send gathers payloads. There are several
// sizes, so that a peer that does not read keeps a buffer that is at most twice as large as its
// frames.
var scratches [bits.UintSize + 1]sync.Pool
