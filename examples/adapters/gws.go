package adapters

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"
)

// gwsConn sends each Write as one frame. Its Close says goodbye unless a frame
// is under way, or was cut: what follows would be taken for the rest of it.
type gwsConn struct {
	net.Conn
	ws   *gws.Conn
	busy atomic.Bool
}

func (c *gwsConn) Write(p []byte) (int, error) {
	c.busy.Store(true)
	err := c.ws.WriteMessage(gws.OpcodeText, p)
	c.busy.Store(err != nil)
	return whole(p, err)
}

func (c *gwsConn) Close() error {
	if !c.busy.Load() && c.SetWriteDeadline(time.Now().Add(goodbye)) == nil {
		c.ws.WriteClose(1001, nil)
	}
	return c.Conn.Close()
}

// Gws serves WebSockets with github.com/lxzan/gws, which calls back.
func (s *Server) Gws() http.Handler {
	upgrader := gws.NewUpgrader(gwsEvents{server: s}, &gws.ServerOption{ReadMaxPayloadSize: messageMax})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := s.admit(r)
		if !ok {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		ws, err := upgrader.Upgrade(w, r)
		if err != nil {
			return // it has answered
		}
		ws.Session().Store("user", gwsUser{id, &gwsConn{Conn: ws.NetConn(), ws: ws}})
		go ws.ReadLoop() // so that net/http lets go of the request
	})
}

// gwsUser is what a connection's session knows.
type gwsUser struct {
	id   string
	conn *gwsConn
}

// gwsEvents is called by gws for each connection.
type gwsEvents struct {
	gws.BuiltinEventHandler
	server *Server
}

func (e gwsEvents) OnOpen(ws *gws.Conn) {
	if u := userOf(ws); e.server.Conns.Add(u.id, u.conn) != nil {
		u.conn.Close()
	}
}

func (e gwsEvents) OnClose(ws *gws.Conn, _ error) {
	u := userOf(ws)
	e.server.Conns.DelConn(u.id, u.conn)
}

func (e gwsEvents) OnPing(ws *gws.Conn, payload []byte) { ws.WritePong(payload) }

func (e gwsEvents) OnMessage(ws *gws.Conn, message *gws.Message) {
	defer message.Close()
	e.server.Received(userOf(ws).id, message.Bytes())
}

func userOf(ws *gws.Conn) gwsUser {
	u, _ := ws.Session().Load("user")
	return u.(gwsUser)
}
