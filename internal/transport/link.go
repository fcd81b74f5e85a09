// Package transport knows the kinds of connection that a pool can write to, how each kind is
// closed, and how much its peer has taken. It knows nothing about ids or queues.
package transport

import (
	"crypto/tls"
	"net"
	"reflect"
	"slices"
	"sync/atomic"

	"golang.org/x/net/websocket"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
	"github.com/nulijiabei/gcpool/internal/upgrade"
)

// A Link is one connection as a pool uses it. Its methods turn a panic of the connection into an
// error. Only one Send, Try or Ping may run at a time; the other methods may be called
// concurrently with them.
type Link struct {
	Conn net.Conn // as it was added
	kind
	last   *Progress     // at the last call of Taking; nil if the peer was heard since
	pinged atomic.Uint64 // how many bytes had been written by the last ping
	reads  uint32        // of the Sender, at the last call of Heard; other Links may share its Conn
	opcode byte          // of its messages; 0 means the pool's
}

// A kind writes to one kind of connection and closes it. See upgraded.go, xnet.go, stream.go
// and packet.go.
type kind interface {
	// Send writes whole frames, or their payloads, and returns how far into frames it got. The
	// connection took everything before n; if n is inside a frame, the peer may have a part of
	// that frame. Between two writes Send calls progress with a lower bound of n.
	Send(frames []byte, progress func(n int)) (n int, err error)
	// Kind returns the name of the kind.
	Kind() string
	// WebSocket reports whether the connection can send Ping and Goodbye.
	WebSocket() bool
	// Ping sends an empty ping.
	Ping() error
	// Goodbye sends a close frame and leaves the connection open, so that the peer can
	// close it.
	Goodbye(s frame.Status) error
	// Left reports whether the handler of the connection may have returned, or has closed the
	// connection. It does not block.
	Left() bool
	// Closed reports whether the connection has been closed on this side. It can block.
	Closed() bool
	// Close closes the connection. First it sends a close frame with s to a WebSocket, and
	// close_notify under TLS, if the peer takes them within a second; Close can block for that
	// second. It calls after once the socket is closed.
	Close(s frame.Status, after func())
	// Announce is called ahead of a Close with s if the handler might return before that Close
	// begins. After Announce, the handler's return cannot change the status. Announce takes 20 ms
	// at most.
	Announce(s frame.Status)
	// GoAway notes that Shutdown was called on a pool that has the connection, or has refused it.
	// If the handler then closes a connection under Upgrade without a close frame, Upgrade's close
	// frame asks the peer to come back.
	GoAway()
	// Kill closes the connection at once.
	Kill()
	// Socket returns the connection whose socket package socket can query, or nil.
	Socket() net.Conn
}

// Init makes l the Link of conn, and reports false if conn is nil or a nil pointer. binary
// chooses the opcode of messages, except on an x/net connection, where PayloadType does.
func (l *Link) Init(conn net.Conn, binary bool) bool {
	if socket.IsNil(conn) {
		return false
	}
	l.Conn = conn
	ws, _ := conn.(*websocket.Conn)
	if ws != nil && binary != (ws.PayloadType&0xf == frame.Binary) {
		l.opcode = ws.PayloadType & 0xf
	}
	if up := unwrap(conn); up != nil {
		l.kind = upgrade.Sender{Conn: up} // whole batches of frames bypass the library
	} else if ws != nil {
		l.kind = newXNet(ws)
	} else if streams(conn) {
		l.kind = &stream{raw{conn}}
	} else {
		l.kind = &packet{raw{conn}}
	}
	return true
}

// Is reports whether conn is l's connection, as Same does. It can call methods of conn.
func (l *Link) Is(conn net.Conn) bool {
	var o Link
	return o.Init(conn, false) && l.Same(&o)
}

// Same reports whether l and o have the same connection. Under Upgrade, all wrappers of one Conn
// are the same connection. Elsewhere, two connections are never the same if their type is not
// comparable. Same calls no code of the application.
func (l *Link) Same(o *Link) bool {
	if up, other := l.upgraded(), o.upgraded(); up.Conn != nil && other.Conn != nil {
		return up == other
	}
	return reflect.ValueOf(o.Conn).Comparable() && l.Conn == o.Conn
}

// upgraded returns l's kind if it is a connection under Upgrade, and otherwise a Sender whose
// Conn is nil.
func (l *Link) upgraded() upgrade.Sender {
	s, _ := l.kind.(upgrade.Sender)
	return s
}

// Tries reports whether Try can write anything. Under TLS it cannot.
func (l *Link) Tries() bool {
	up := l.upgraded()
	return l.opcode == 0 && up.Conn != nil && socket.System(up.Socket())
}

// Try writes as much of frames as the system takes without waiting, and returns how many bytes
// that is.
func (l *Link) Try(frames []byte) (n int) { return l.upgraded().Try(frames) }

// Rest writes, as Send does, the bytes that Try has left.
func (l *Link) Rest(frames []byte, progress func(n int)) (n int, err error) {
	return l.upgraded().Rest(frames, progress)
}

// Ping sends an empty ping.
func (l *Link) Ping() error {
	err := l.kind.Ping()
	p := l.Progress()
	l.pinged.Store(p.Acked + uint64(max(0, p.Left)))
	return err
}

// Heard reports whether anything has come from the peer since the last call, and whether l can
// tell. If l cannot tell, heard is true. Only one call may run at a time.
func (l *Link) Heard() (heard, tells bool) {
	up := l.upgraded()
	if up.Conn == nil {
		return true, false
	}
	count := up.Reads()
	if heard = count != l.reads; heard {
		l.reads, l.last = count, nil
	}
	return heard, true
}

// Send writes whole frames, as the kind's Send does, with the opcode of l's messages. If that is
// not the pool's opcode, Send writes a copy, because it must not change the bytes of frames.
func (l *Link) Send(frames []byte, progress func(n int)) (n int, err error) {
	return l.kind.Send(l.coded(frames), progress)
}

func (l *Link) coded(frames []byte) []byte {
	if l.opcode == 0 {
		return frames
	}
	frames = slices.Clone(frames)
	for i := 0; i < len(frames); {
		frames[i] = frames[i]&^0xf | l.opcode
		_, end := frame.Bounds(frames[i:])
		i += end
	}
	return frames
}

// doubtful is how many bytes of frames one TLS record can stand for: 16 KiB of payload, if each
// byte is a payload with a header of two bytes.
const doubtful = 3 * 16 << 10

// Usable returns how many bytes of frames the peer might be able to use, after a Send that
// returned n and err. Under Upgrade, a frame that was cut on one of the system's own connections
// is of no use. With TLS over any other type of connection, n can leave out the last record even
// though it was sent, because crypto/tls drops the count that the Write below it returns.
func (l *Link) Usable(n int, err error) int {
	if err == nil {
		return n
	}
	conn := l.Socket()
	_, secure := conn.(*tls.Conn)
	switch {
	case secure && !socket.System(socket.Under(conn)):
		return n + doubtful
	case l.upgraded().Conn != nil && streams(conn):
		return 0
	}
	return n
}

// sendEach sends frames one by one, for Send. send returns how much of a payload was written.
func sendEach(frames []byte, progress func(n int), send func(op byte, payload []byte) (int, error)) (n int, err error) {
	for n < len(frames) {
		if n > 0 {
			progress(n)
		}
		start, end := frame.Bounds(frames[n:])
		if went, err := send(frames[n]&0xf, frames[n+start:n+end]); err != nil {
			return n + min(went, 1), err
		}
		n += end
	}
	return n, nil
}
