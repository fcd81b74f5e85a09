package adapters

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// gorillaConn sends each Write as one frame. Deadlines are the socket's, for
// gorilla's own may not be set while a write is under way; but each of its
// writes begins with setting its own, hence the copy.
type gorillaConn struct {
	net.Conn
	ws       *websocket.Conn
	kind     int
	deadline atomic.Pointer[time.Time]
}

func (c *gorillaConn) Write(p []byte) (int, error) {
	if d := c.deadline.Load(); d != nil {
		c.ws.SetWriteDeadline(*d)
	}
	return whole(p, c.ws.WriteMessage(c.kind, p))
}

func (c *gorillaConn) SetWriteDeadline(t time.Time) error {
	c.deadline.Store(&t)
	return c.Conn.SetWriteDeadline(t)
}

func (c *gorillaConn) Close() error {
	c.ws.WriteControl(websocket.CloseMessage, goingAway, time.Now().Add(goodbye))
	return c.Conn.Close()
}

var goingAway = websocket.FormatCloseMessage(websocket.CloseGoingAway, "")

// Gorilla serves WebSockets with github.com/gorilla/websocket.
func (s *Server) Gorilla() http.Handler {
	upgrader := websocket.Upgrader{HandshakeTimeout: 5 * time.Second}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := s.admit(r)
		if !ok {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // it has answered
		}
		conn := &gorillaConn{Conn: ws.NetConn(), ws: ws, kind: websocket.TextMessage}
		defer conn.Conn.Close()
		if s.Conns.Add(id, conn) != nil {
			return
		}
		defer s.Conns.DelConn(id, conn)
		ws.SetReadLimit(messageMax)
		for {
			_, message, err := ws.ReadMessage()
			if err != nil {
				return
			}
			s.Received(id, message)
		}
	})
}
