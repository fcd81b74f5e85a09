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

// stream is a connection that keeps no boundaries: messages end with a newline, and leave
// together, a piece at a time.
type stream struct{ raw }

func (s *stream) Kind() string { return "stream" }

// streams reports whether conn is one of Go's own that keeps no boundaries. A Unix socket of packets
// or datagrams keeps them.
func streams(conn net.Conn) bool {
	if _, secure := conn.(*tls.Conn); secure || !socket.System(conn) {
		return secure
	}
	addr := conn.LocalAddr() // nil for a zero UnixConn
	return addr == nil || addr.Network() == "unix" || addr.Network() == "tcp"
}

// Send tells progress in bytes of payload, of which there are fewer than of frames.
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
	for err != nil && n < len(frames) { // where it stopped
		start, end := frame.Bounds(frames[n:])
		if went < end-start {
			return n + min(went, 1), err
		}
		went -= end - start
		n += end
	}
	return len(frames), err
}

// scratches are the buffers of 1<<i bytes in which Send gathers payloads. Their sizes differ so
// that a peer that does not read keeps a buffer no larger than its payloads.
var scratches [bits.UintSize + 1]sync.Pool
