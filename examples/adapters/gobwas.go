package adapters

import (
	"net"
	"net/http"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/nulijiabei/gcpool"
)

// Gobwas serves a WebSocket with github.com/gobwas/ws under net/http.
func (s *Server) Gobwas(w http.ResponseWriter, r *http.Request, id string) {
	conn, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return // UpgradeHTTP has sent the error
	}
	defer conn.Close()
	if s.Conns.Add(id, gcpool.Conn(r)) == nil {
		defer s.Conns.Del(id)
		echoGobwas(conn)
	}
}

// echoGobwas writes each frame in one Write, which plain.go relies on.
func echoGobwas(conn net.Conn) {
	wsutil.SetMaxMessageSize(messageMax) // of the whole process
	for {
		message, kind, err := wsutil.ReadClientData(conn)
		if err == nil {
			_, err = conn.Write(ws.MustCompileFrame(ws.NewFrame(kind, true, message)))
		}
		if err != nil {
			return
		}
	}
}
