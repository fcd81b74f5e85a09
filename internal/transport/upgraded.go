package transport

import (
	"net"

	"golang.org/x/net/websocket"

	"github.com/nulijiabei/gcpool/internal/upgrade"
)

// A Conn is the connection under a request that Upgrade serves, and a ConnKey where the
// request's context has it. The kind of their Links is an upgrade.Sender: whole batches of
// frames go past the library, and its close is a close handshake.
type (
	Conn    = upgrade.Conn
	ConnKey = upgrade.ConnKey
)

// GoAway has the peer told to come back, if conn is under Upgrade and its handler closes it
// without a close frame: a pool that is shut down has refused it.
func GoAway(conn net.Conn) {
	if c := unwrap(conn); c != nil {
		c.Away.Store(true)
	}
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
				return upgrade.FromContext(req.Context())
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
