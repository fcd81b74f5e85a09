package adapters

import (
	"net"
	"net/http"

	"github.com/lxzan/gws"
	"github.com/nulijiabei/gcpool"
)

var gwsUpgrader = gws.NewUpgrader(echoGws{}, &gws.ServerOption{ReadMaxPayloadSize: messageMax})

// Gws serves a WebSocket with github.com/lxzan/gws, on the handler's goroutine.
func (s *Server) Gws(w http.ResponseWriter, r *http.Request, id string) {
	if ws, err := gwsUpgrader.Upgrade(w, r); err == nil { // otherwise Upgrade has sent the error
		s.readGws(ws, gcpool.Conn(r), id)
	}
}

// GwsGo is Gws in the style of that library's own examples: the handler returns at once.
func (s *Server) GwsGo(w http.ResponseWriter, r *http.Request, id string) {
	if ws, err := gwsUpgrader.Upgrade(w, r); err == nil {
		go s.readGws(ws, gcpool.Conn(r), id)
	}
}

func (s *Server) readGws(ws *gws.Conn, conn net.Conn, id string) {
	defer conn.Close()
	if s.Conns.Add(id, conn) == nil {
		defer s.Conns.Del(id)
		ws.ReadLoop()
	}
}

// echoGws has the callbacks of gws.
type echoGws struct{ gws.BuiltinEventHandler }

func (echoGws) OnPing(ws *gws.Conn, payload []byte) { ws.WritePong(payload) }

func (echoGws) OnMessage(ws *gws.Conn, message *gws.Message) {
	defer message.Close()
	ws.WriteMessage(message.Opcode, message.Bytes())
}
