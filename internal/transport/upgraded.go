package transport

import (
	"net"

	"golang.org/x/net/websocket"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// upgraded is a WebSocket under Upgrade, of any library: whole batches of frames go past
// the library, and its close is a close handshake.
type upgraded struct {
	conn  *Conn
	tried bool // try has left the turn to send
}

// unwrap returns the Conn under conn, or nil: x/net's has a request; what a library wraps
// around what it has hijacked has NetConn, as gorilla's does.
func unwrap(conn net.Conn) (up *Conn) {
	defer func() { _ = recover() }() // of a NetConn of the application's
	for range 8 {
		switch c := conn.(type) {
		case *Conn:
			return c
		case *websocket.Conn:
			if req := c.Request(); req != nil {
				return FromContext(req.Context())
			}
			return nil
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
	return nil
}

func (u *upgraded) send(frames []byte, progress func(n int)) (int, error) {
	tried := u.tried
	u.tried = false
	return u.conn.sendFrames(frames, tried, progress)
}

func (u *upgraded) try(frames []byte) int {
	n := u.conn.try(frames)
	u.tried = 0 < n && n < len(frames)
	return n
}

func (u *upgraded) control(op byte, payload []byte) error {
	return u.conn.send(frame.Append(nil, op, payload, false), byPool)
}

func (u *upgraded) goodbye(s Status) error { return u.control(frame.Close, s.payload()) }

func (u *upgraded) speaksFrames() bool                { return true }
func (u *upgraded) heard() (count uint32, tells bool) { return u.conn.reads.Load(), true }
func (u *upgraded) left() bool                        { return u.conn.Ending() }
func (u *upgraded) closed() bool                      { return u.conn.Ending() }
func (u *upgraded) await()                            {}
func (u *upgraded) kill()                             { u.conn.kill() }

// close drops what comes as well, for the handler may have returned, or be busy elsewhere.
func (u *upgraded) close(s Status, after func()) {
	if u.conn.close(s, after); u.conn.drops() {
		u.conn.Drain()
	}
}

func (u *upgraded) progress() (wrote uint64, socket net.Conn) {
	return u.conn.wrote.Load(), under(u.conn.Conn)
}
