package transport

import (
	"net"

	"golang.org/x/net/websocket"

	"github.com/nulijiabei/gcpool/internal/socket"
	"github.com/nulijiabei/gcpool/internal/upgrade"
)

// Gone reports whether the peer of a connection under Upgrade has closed it, as far as the system
// can tell. It does not block.
func (l *Link) Gone() bool {
	up := l.upgraded()
	return up.Conn != nil && socket.Gone(up.Socket())
}

// unwrap returns the Conn of package upgrade under conn, or nil. An x/net connection has it in
// the context of its request. A library's wrapper around the hijacked connection has a method
// NetConn, as gorilla's does.
func unwrap(conn net.Conn) (up *upgrade.Conn) {
	defer func() { _ = recover() }() // a NetConn of the application may panic
	for range 8 {
		switch c := conn.(type) {
		case *upgrade.Conn:
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
