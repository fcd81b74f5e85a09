package adapters

import (
	"context"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// coderConn is websocket.NetConn, but for its Close. That ends a Read that is
// under way first, by cutting the connection, so that the close frame may be
// lost; this one waits up to 5 s for the peer's answer to the close frame.
type coderConn struct {
	net.Conn
	ws *websocket.Conn
}

func (c *coderConn) Close() error {
	return c.ws.Close(websocket.StatusGoingAway, "")
}

// Coder serves WebSockets with github.com/coder/websocket.
func (s *Server) Coder() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := s.admit(r)
		if !ok {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // it has answered
		}
		// Not the request's context: net/http may end that before the handler.
		conn := &coderConn{Conn: websocket.NetConn(context.Background(), ws, websocket.MessageText), ws: ws}
		defer ws.CloseNow()
		ws.SetReadLimit(messageMax) // NetConn has lifted it
		if s.Conns.Add(id, conn) != nil {
			return
		}
		defer s.Conns.DelConn(id, conn)
		for {
			_, message, err := ws.Read(context.Background())
			if err != nil {
				return
			}
			s.Received(id, message)
		}
	})
}
