package wire

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"
)

// Piece is the most that one Write of a stream carries, so that a slow peer's
// progress can be seen.
const Piece = 64 << 10

// A Status is what a close frame says (RFC 6455 section 7.4). The zero Status is no
// frame, for a peer that could not take it.
type Status struct {
	Code   int
	Reason string
}

// The statuses that a pool sends on its own.
var (
	StatusNormal    = Status{Code: 1000}
	StatusGoingAway = Status{Code: 1001}
	StatusReplaced  = Status{Code: 4000} // private use: a newer connection took the id
)

// closeGrace is how long a close frame may wait for room in the socket.
const closeGrace = time.Second

// again is how often a deadline is set that Close may have moved, and agains how
// many times: a Close that heeds none is left alone then.
const (
	again  = 20 * time.Millisecond
	agains = 50
)

// longAgo is a deadline that makes a write which is stuck return at once.
var longAgo = time.Unix(1, 0)

// A Link is one connection and the way to write frames to it. Its methods turn
// a panic of the connection into an error. Only one Send, Try or Control may
// run at a time; Close and Kill may run beside them.
type Link struct {
	Conn   net.Conn
	Op     byte            // the opcode of its messages
	stream bool            // messages have no boundaries but their newline
	tried  bool            // Try has left up.frames locked, for Send
	reads  uint32          // of up, when Heard was called; up may be under other Links
	last   Progress        // when Taking was called, if nothing was heard since
	ws     *websocket.Conn // nil for a raw connection
	up     *Conn           // under ws if that was upgraded, else nil
	pinged atomic.Uint64   // how many bytes there were with the last ping
}

// NewLink returns conn's Link, or nil if conn is nil or a nil pointer.
func NewLink(conn net.Conn) *Link {
	if v := reflect.ValueOf(conn); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	l := &Link{Conn: conn, Op: Text}
	switch c := conn.(type) {
	case *websocket.Conn:
		l.ws, l.Op = c, c.PayloadType&0xf
		if req := c.Request(); req != nil {
			l.up, _ = req.Context().Value(connKey{}).(*Conn)
		}
	case *net.TCPConn, *net.UnixConn, *tls.Conn:
		l.stream = true
	}
	return l
}

// Is reports whether conn is l's connection. Types that cannot be compared
// never are.
func (l *Link) Is(conn net.Conn) bool {
	return conn != nil && reflect.ValueOf(conn).Comparable() && l.Conn == conn
}

// WebSocket reports whether l can be pinged and sent a close frame.
func (l *Link) WebSocket() bool { return l.ws != nil }

// Handled reports whether l belongs to a handler that runs as long as l is
// open, as that of a server-side WebSocket does.
func (l *Link) Handled() bool { return l.ws != nil && l.ws.IsServerConn() }

// Ends reports whether l's handler may have returned. It does not block.
func (l *Link) Ends() bool {
	if l.up != nil {
		return l.up.returned.Load()
	}
	return l.Handled() && l.ws.Request().Context().Err() != nil
}

// Heard reports whether anything came from the peer since the last call, and
// whether l can tell; if not, it says that something did. One call may run at a
// time.
func (l *Link) Heard() (heard, tells bool) {
	if l.up == nil {
		return true, false
	}
	before := l.reads
	if l.reads = l.up.reads.Load(); l.reads == before {
		return false, true
	}
	l.last = Progress{}
	return true, true
}

// Closed reports whether l's socket has been closed on this side, or its handler has
// returned. The system tells so when a deadline is set: this clears l's. Without Upgrade,
// a handler's end shows only in this and in Ends together: an application closes its
// connection itself; a request's context ends by a deadline, with its BaseContext, or by
// an error of any read.
func (l *Link) Closed() bool {
	if l.up != nil && l.Ends() {
		return true
	}
	err := l.guard(func() error { return l.Conn.SetWriteDeadline(time.Time{}) })
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) // net.Pipe's, for either side
}

// Send writes frames and returns how far it came: what lies before was taken,
// and if that is inside a frame, its peer may have a part of it. After each write
// but the last, it tells progress how far it has come at least.
//
// A stream gets as many payloads as fit into a piece at once. Every other
// connection gets one write a message, for it may be one that makes a message
// of each write, as the adapters of WebSocket libraries do.
func (l *Link) Send(frames []byte, progress func(n int)) (n int, err error) {
	defer recovered(&err)
	if l.up != nil {
		tried := l.tried
		l.tried = false
		return l.up.send(frames, tried, progress)
	}
	for n < len(frames) {
		if n > 0 {
			progress(n)
		}
		m := 0
		if l.stream {
			m, err = l.sendPiece(frames[n:], func(int) { progress(n) })
		} else {
			m, err = l.sendOne(frames[n:])
		}
		if n += m; err != nil {
			break
		}
	}
	return n, err
}

// Tries reports whether Try may come to something.
func (l *Link) Tries() bool { return l.up != nil }

// Try is Send as far as the system takes the frames at once. It returns how far it
// came and, in that order, whether that is all; the rest is for the next Send.
func (l *Link) Try(frames []byte) (n int, all bool) {
	n = l.up.try(frames)
	l.tried = 0 < n && n < len(frames)
	return n, n == len(frames)
}

// sendOne writes the first message. With an error, x/net does not tell whether
// anything went.
func (l *Link) sendOne(frames []byte) (n int, err error) {
	start, end := Frame(frames)
	if payload := frames[start:end]; l.ws == nil {
		n, err = l.write(payload)
	} else if err = l.send(frames[0]&0xf, payload); err != nil {
		n = 1
	}
	if err == nil {
		return end, nil
	}
	return min(n, 1), err
}

// sendPiece writes the payloads of the first messages, together.
func (l *Link) sendPiece(frames []byte, progress func(n int)) (n int, err error) {
	start, next := Frame(frames)
	batch := frames[start:next]
	if next < len(frames) && len(batch) < Piece {
		size := bits.Len(uint(min(len(frames), Piece) - 1))
		scratch, _ := scratches[size].Get().(*[]byte)
		if scratch == nil {
			scratch = new(make([]byte, 0, 1<<size))
		}
		defer scratches[size].Put(scratch)
		batch = append(*scratch, batch...)
		for next < len(frames) {
			start, end := Frame(frames[next:])
			if len(batch)+end-start > Piece {
				break
			}
			batch = append(batch, frames[next+start:next+end]...)
			next += end
		}
	}
	went, err := pieces(l.write, batch, pieceOf(l.Conn), progress)
	for err != nil && n < next { // where it stopped
		start, end := Frame(frames[n:])
		if went < end-start {
			return n + min(went, 1), err
		}
		went -= end - start
		n += end
	}
	return next, err
}

func (l *Link) write(p []byte) (int, error) { return write(l.Conn, p) }

// write is w.Write for a w that may break the rules of io.Writer. One that
// panics may have written something.
func write(w io.Writer, p []byte) (n int, err error) {
	defer recovered(&err)
	n = min(1, len(p)) // should it panic
	n, err = w.Write(p)
	n = min(max(n, 0), len(p))
	if n < len(p) && err == nil {
		err = io.ErrShortWrite
	}
	return n, err
}

// Control sends an empty ping, or tells a WebSocket's peer that the server goes
// away, without closing.
func (l *Link) Control(op byte) error {
	if op == Close {
		return l.sendClose(StatusGoingAway)
	}
	err := l.send(op, nil)
	p := l.Progress()
	l.pinged.Store(p.acked + uint64(max(0, p.left)))
	return err
}

func (l *Link) sendClose(s Status) error {
	return l.send(Close, append(binary.BigEndian.AppendUint16(nil, uint16(s.Code)), s.Reason...))
}

// send sends one frame through x/net.
func (l *Link) send(op byte, payload []byte) (err error) {
	defer recovered(&err)
	return codec.Send(l.ws, frame{op, payload})
}

// Close closes l, after a close frame with status if it is a WebSocket and its
// socket takes the frame within a second.
func (l *Link) Close(status Status) {
	if l.ws != nil && status.Code != 0 {
		l.guard(func() error {
			if err := l.Conn.SetWriteDeadline(time.Now().Add(closeGrace)); err != nil {
				return err
			}
			return l.sendClose(status)
		})
	}
	l.Kill()
}

// Kill closes l. x/net's Close waits for as long as a write is stuck, and sends
// status 1000 whatever was sent before, hence the deadline, which the application may
// move just then. That of TLS waits for 5 s of its own, whatever the deadline
// (closeNotify in crypto/tls). So what is under either goes first; under a WebSocket
// that is not upgraded it is out of reach, so the deadline is set again until Close
// returns. That of a raw connection may wait for the write as well; Close does not.
func (l *Link) Kill() {
	expire := func() { l.guard(func() error { return l.Conn.SetWriteDeadline(longAgo) }) }
	var wg sync.WaitGroup
	defer wg.Wait()
	if wg.Go(expire); l.ws != nil {
		wg.Wait()
	}
	if _, secure := l.Conn.(*tls.Conn); secure || l.up != nil {
		l.guard(l.under().Close)
	}
	if l.Handled() && l.up == nil {
		closed := make(chan struct{})
		defer close(closed)
		go func() {
			for range agains {
				select {
				case <-time.After(again):
					expire()
				case <-closed:
					return
				}
			}
		}()
	}
	l.guard(l.Conn.Close)
}

// guard runs one call into a connection that may panic.
func (l *Link) guard(call func() error) (err error) {
	defer recovered(&err)
	return call()
}

func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("gcpool: connection panicked: %v", v)
	}
}

// frame is what codec sends; unlike ws.Write it names its opcode.
type frame struct {
	op      byte
	payload []byte
}

var codec = websocket.Codec{Marshal: func(v any) ([]byte, byte, error) {
	f := v.(frame)
	return f.payload, f.op, nil
}}

// scratches are the buffers of 1<<i bytes in which sendPiece gathers payloads: a peer
// that does not read keeps no more than what waits for it.
var scratches [17]sync.Pool
