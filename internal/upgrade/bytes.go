package upgrade

import (
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// incoming is what the peer sends.
type incoming struct {
	sync.Mutex               // serializes reads; locked before the others
	early      string        // what came with the handshake and has not been read
	parser     frame.Parser  // of all that has been read
	reads      atomic.Uint32 // how often something has come
}

// read reads into p, first what came early. It reports whether nothing will follow: the
// peer has closed, or has said so. The caller has locked in.
func (in *incoming) read(conn net.Conn, p []byte) (n int, over bool, err error) {
	if in.early != "" {
		n = copy(p, in.early)
		in.early = strings.Clone(in.early[n:]) // which lets go of all when none is left
	} else {
		err = socket.Guard(func() error { n, err = conn.Read(p); return err })
	}
	if n > 0 {
		in.reads.Add(1)
	}
	over = err == io.EOF
	for p = p[:n]; len(p) > 0; {
		took, ended := in.parser.Next(p)
		p = p[took:]
		over = over || ended && in.parser.Opcode() == frame.Close
	}
	return n, over, err
}

// outgoing is what has gone to the peer. Who has the turn writes.
type outgoing struct {
	wrote atomic.Uint64 // bytes, whoever wrote them
}

// write writes p a piece at a time, and tells progress between pieces how much went.
func (out *outgoing) write(conn net.Conn, p []byte, progress func(n int)) (int, error) {
	before := out.wrote.Load()
	n, err := socket.WritePieces(conn, p, func(n int) {
		out.wrote.Store(before + uint64(n))
		progress(n)
	})
	out.wrote.Store(before + uint64(n))
	return n, err
}

// writeNow writes what of p the socket has room for.
func (out *outgoing) writeNow(conn net.Conn, p []byte) int {
	n := socket.WriteNow(conn, p)
	out.wrote.Add(uint64(n))
	return n
}
