package adapters

import (
	"io"
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
		return // it has answered
	}
	defer conn.Close()
	if s.Conns.Add(id, gcpool.Conn(r)) == nil {
		defer s.Conns.Del(id)
		echoGobwas(conn)
	}
}

// echoGobwas writes each frame in one Write, which plain.go relies on.
func echoGobwas(conn net.Conn) {
	control := wsutil.ControlFrameHandler(conn, ws.StateServerSide)
	in := wsutil.Reader{Source: conn, State: ws.StateServerSide, CheckUTF8: true,
		MaxFrameSize: messageMax, MaxMessageSize: messageMax, OnIntermediate: control}
	for {
		header, err := in.NextFrame()
		if err == nil && header.OpCode.IsControl() {
			if err = control(header, &in); err == nil {
				continue
			}
		}
		if err != nil {
			return
		}
		message, err := io.ReadAll(&in)
		if err != nil {
			return
		}
		if _, err = conn.Write(ws.MustCompileFrame(ws.NewFrame(header.OpCode, true, message))); err != nil {
			return
		}
	}
}
