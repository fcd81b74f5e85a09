package adapters

import (
	"context"
	"net/http"

	"github.com/coder/websocket"
	"github.com/nulijiabei/gcpool"
)

var coderOptions = websocket.AcceptOptions{OriginPatterns: pages.Patterns()}

// Coder serves a WebSocket with github.com/coder/websocket.
func (s *Server) Coder(w http.ResponseWriter, r *http.Request, id string) {
	ws, err := websocket.Accept(w, r, &coderOptions)
	if err != nil {
		return // Accept has sent the error
	}
	defer ws.CloseNow()
	if s.Conns.Add(id, gcpool.Conn(r)) == nil {
		defer s.Conns.Del(id)
		echoCoder(r.Context(), ws)
	}
}

func echoCoder(ctx context.Context, ws *websocket.Conn) {
	ws.SetReadLimit(messageMax)
	for {
		kind, message, err := ws.Read(ctx)
		if err != nil || ws.Write(ctx, kind, message) != nil {
			return
		}
	}
}
