package adapters

import (
	"net/http"

	"github.com/nulijiabei/gcpool"
	"github.com/olahol/melody"
)

// Melody returns a handler that serves WebSockets with github.com/olahol/melody, whose
// sessions know their request.
func (s *Server) Melody() Handler {
	m := melody.New()
	m.Upgrader.CheckOrigin, m.Config.MaxMessageSize = pages.Check, messageMax
	m.HandleConnect(func(c *melody.Session) { s.Conns.Add(c.MustGet("id").(string), gcpool.Conn(c.Request)) })
	m.HandleDisconnect(func(c *melody.Session) { s.Conns.Del(c.MustGet("id").(string)) })
	m.HandleMessage(func(c *melody.Session, message []byte) { c.Write(message) })
	return func(w http.ResponseWriter, r *http.Request, id string) {
		m.HandleRequestWithKeys(w, r, map[string]any{"id": id})
	}
}
