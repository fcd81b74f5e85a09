// Package transport knows the kinds of connection that a pool can write to, how each is
// closed, and what the kernel has sent. It knows no ids and no queues.
package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// Piece is the most that one Write of a stream carries, so that a slow peer's progress
// can be seen.
const Piece = 64 << 10

// longAgo is a deadline that makes a write which is stuck return at once.
var longAgo = time.Unix(1, 0)

// A Link is one connection as a pool uses it. Its methods turn a panic of the connection
// into an error. Only one Send, Try or Ping may run at a time; the others may run beside
// them.
type Link struct {
	Conn   net.Conn // as it was added
	Opcode byte     // of its messages
	kind
	recodes bool // Opcode is not the pool's

	reads  uint32        // of the kind, when Heard was called; the kind may be under other Links
	last   Progress      // when Taking was called, if nothing was heard since
	pinged atomic.Uint64 // how many bytes there were with the last ping
}

// A kind is how one kind of connection is written to and closed. See upgraded.go, xnet.go,
// stream.go and packet.go.
type kind interface {
	// Send writes whole frames, or their payloads, and returns how far it came: what lies
	// before was taken, and if that is inside a frame, its peer may have a part of it. After
	// each write but the last it tells progress how far it has come at least.
	Send(frames []byte, progress func(n int)) (n int, err error)
	// WebSocket reports whether the connection can be pinged and sent a close frame.
	WebSocket() bool
	// Goodbye sends a close frame and leaves the connection open, so that the peer can
	// close it.
	Goodbye(s Status) error
	// Left reports whether the connection's handler may have returned, or has closed it. It
	// does not block.
	Left() bool
	// Closed reports whether it has been closed on this side. It may block.
	Closed() bool
	// Close closes the connection, after a close frame with s if it is a WebSocket, and
	// after close_notify if it is TLS, as far as the peer takes that within a second. It
	// may block for that second. after is called once the socket is closed.
	Close(s Status, after func())
	// AwaitClose waits until a Close that is on its way no longer needs the connection's
	// handler, which may be about to return: 20 ms at most.
	AwaitClose()
	// Kill closes the connection at once.
	Kill()

	ping() error
	// held tells how far the application has come with its data if an unfinished message
	// of its own, which it is not writing just now, keeps Send waiting; else 0.
	held() uint64
	// heard counts what the peer has sent, if the kind can tell.
	heard() (count uint32, tells bool)
	// progress tells how many bytes of anybody's went to the socket, if known, and which
	// one that is, if it can be reached.
	progress() (wrote uint64, socket net.Conn)
}

// NewLink returns conn's Link, or nil if conn is nil or a nil pointer. Messages are binary
// or text as told, unless the connection has its own way to say so.
func NewLink(conn net.Conn, binary bool) *Link {
	if v := reflect.ValueOf(conn); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	l := &Link{Conn: conn, Opcode: frame.Text}
	if binary {
		l.Opcode = frame.Binary
	}
	ws, _ := conn.(*websocket.Conn)
	if ws != nil {
		l.Opcode = ws.PayloadType & 0xf
		l.recodes = binary != (l.Opcode == frame.Binary)
	}
	if up := unwrap(conn); up != nil {
		l.kind = &upgraded{conn: up}
	} else if ws != nil {
		l.kind = newXNet(ws)
	} else if streams(conn) {
		l.kind = &stream{raw{conn}}
	} else {
		l.kind = &packet{raw{conn}}
	}
	return l
}

// Is reports whether conn is l's connection. Types that cannot be compared never are.
func (l *Link) Is(conn net.Conn) bool {
	return conn != nil && reflect.ValueOf(conn).Comparable() && l.Conn == conn
}

// Tries reports whether Try may come to something.
func (l *Link) Tries() bool {
	_, tries := l.kind.(*upgraded)
	return tries && !l.recodes
}

// Try is Send as far as the system takes the frames at once. It returns how far it came
// and, in that order, whether that is all; the rest is for the next Send.
func (l *Link) Try(frames []byte) (n int, all bool) {
	n = l.kind.(*upgraded).try(frames)
	return n, n == len(frames)
}

// Held reports whether an unfinished message of the application's keeps Send waiting.
func (l *Link) Held() bool { return l.held() > 0 }

// Ping sends an empty ping.
func (l *Link) Ping() error {
	err := l.ping()
	p := l.Progress()
	l.pinged.Store(p.acked + uint64(max(0, p.left)))
	return err
}

// Heard reports whether anything came from the peer since the last call, and whether l
// can tell; if not, it says that something did. One call may run at a time.
func (l *Link) Heard() (heard, tells bool) {
	count, tells := l.heard()
	if !tells {
		return true, false
	}
	if heard = count != l.reads; heard {
		l.reads, l.last = count, Progress{}
	}
	return heard, true
}

// write is w.Write for a w that may break the rules of io.Writer. One that panics may
// have written something.
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

// pieces writes p a piece at a time, and tells progress between writes how much went.
func pieces(write func([]byte) (int, error), p []byte, piece int, progress func(n int)) (n int, err error) {
	for n < len(p) && err == nil {
		if n > 0 {
			progress(n)
		}
		m := 0
		m, err = write(p[n:min(n+piece, len(p))])
		n += m
	}
	return n, err
}

// guard runs one call into a connection that may panic.
func guard(call func() error) (err error) {
	defer recovered(&err)
	return call()
}

func recovered(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("gcpool: connection panicked: %v", v)
	}
}

// closedHere reports whether conn's socket has been closed on this side. The system tells
// so when a deadline is set: this clears conn's.
func closedHere(conn net.Conn) bool {
	err := guard(func() error { return conn.SetWriteDeadline(time.Time{}) })
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) // net.Pipe's, for either side
}
