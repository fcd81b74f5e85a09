package main

import (
	"context"
	"net/http"

	coder "github.com/coder/websocket"
	gobwas "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// libraries returns handlers that use a WebSocket library other than x/net, by their paths.
func (s *soak) libraries() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{"/gorilla": s.gorilla, "/coder": s.coder, "/gws": s.gws, "/gobwas": s.gobwas}
}

// paths are the paths for half of the users.
var paths = []string{"/gorilla", "/coder", "/gws", "/gobwas"}

// enter adds the connection under r for the user who called. It returns a function that removes
// the connection, or nil if no user has called or Shutdown has begun.
func (s *soak) enter(r *http.Request) (leave func()) {
	c := s.answer(r.FormValue("n"))
	if c == nil {
		return nil
	}
	_, err := c.user.lane.ledger.Connect(c.user.id, func(conn *ledger.Conn) error {
		c.conn <- conn
		return c.user.lane.conns.Add(c.user.id, gcpool.Conn(r))
	})
	if err != nil {
		return nil
	}
	return func() { c.user.lane.conns.Del(c.user.id) }
}

func (s *soak) gorilla(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	if leave := s.enter(r); leave != nil {
		defer leave()
		for err == nil {
			_, _, err = conn.ReadMessage()
		}
	}
}

func (s *soak) coder(w http.ResponseWriter, r *http.Request) {
	conn, err := coder.Accept(w, r, &coder.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	if leave := s.enter(r); leave != nil {
		defer leave()
		for err == nil {
			_, _, err = conn.Read(context.Background())
		}
	}
}

func (s *soak) gobwas(w http.ResponseWriter, r *http.Request) {
	conn, _, _, err := gobwas.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	defer conn.Close()
	if leave := s.enter(r); leave != nil {
		defer leave()
		for err == nil {
			_, _, err = wsutil.ReadClientData(conn)
		}
	}
}

// gws returns at once. The connection is removed in OnClose, which
// gws calls after it has closed the connection.
func (s *soak) gws(w http.ResponseWriter, r *http.Request) {
	conn, err := gws.NewUpgrader(&events{}, nil).Upgrade(w, r)
	if err != nil {
		return
	}
	leave := s.enter(r)
	if leave == nil {
		conn.NetConn().Close()
		return
	}
	conn.Session().Store("leave", leave)
	go conn.ReadLoop()
}

type events struct{ gws.BuiltinEventHandler }

func (*events) OnPing(conn *gws.Conn, payload []byte) { conn.WritePong(payload) }

func (*events) OnClose(conn *gws.Conn, _ error) {
	if leave, ok := conn.Session().Load("leave"); ok {
		leave.(func())()
	}
}
