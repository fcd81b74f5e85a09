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

func (u *upgraded) Send(frames []byte, progress func(n int)) (int, error) {
	tried := u.tried
	u.tried = false
	return u.conn.sendFrames(frames, tried, progress)
}

func (u *upgraded) try(frames []byte) int {
	n := u.conn.try(frames)
	u.tried = 0 < n && n < len(frames)
	return n
}

func (u *upgraded) Goodbye(s Status) error {
	return u.conn.send(frame.Append(nil, frame.Close, s.payload(), false), byPool)
}

func (u *upgraded) ping() error {
	return u.conn.send(frame.Append(nil, frame.Ping, nil, false), byPool)
}

func (u *upgraded) WebSocket() bool                   { return true }
func (u *upgraded) held() uint64                      { return u.conn.held() }
func (u *upgraded) Left() bool                        { return u.conn.Ending() }
func (u *upgraded) Closed() bool                      { return u.conn.Ending() }
func (u *upgraded) Close(s Status, after func())      { u.conn.close(s, after) }
func (u *upgraded) AwaitClose()                       { u.conn.await() }
func (u *upgraded) Kill()                             { u.conn.kill() }
func (u *upgraded) heard() (count uint32, tells bool) { return u.conn.reads.Load(), true }

func (u *upgraded) progress() (wrote uint64, socket net.Conn) {
	return u.conn.wrote.Load(), under(u.conn.Conn)
}
