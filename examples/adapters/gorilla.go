package adapters

import (
	"net/http"

	"github.com/gorilla/websocket"
	"github.com/nulijiabei/gcpool"
)

var gorillaUpgrader = websocket.Upgrader{CheckOrigin: pages.Check}

// Gorilla serves a WebSocket with github.com/gorilla/websocket.
func (s *Server) Gorilla(w http.ResponseWriter, r *http.Request, id string) {
	ws, err := gorillaUpgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has sent the error
	}
	defer ws.Close()
	if s.Conns.Add(id, gcpool.Conn(r)) == nil {
		defer s.Conns.Del(id)
		echoGorilla(ws)
	}
}

func echoGorilla(ws *websocket.Conn) {
	ws.SetReadLimit(messageMax)
	for {
		kind, message, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(kind, message) != nil {
			return
		}
	}
}
