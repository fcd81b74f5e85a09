package closing

import (
	"context"
	"net"
	"net/http"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	"github.com/nulijiabei/gcpool"
	"github.com/olahol/melody"
	xnet "golang.org/x/net/websocket"
)

// A library serves WebSockets on the server's side.
type library struct {
	name    string
	serve   func(s *site) http.Handler
	accept  func(s *site, conn net.Conn) // in place of serve, without net/http
	returns bool                         // its connections end when their handlers do
	closes  bool                         // is here only to test its Close, so a handler without Close adds nothing
	plain   bool                         // without Upgrade
}

var libraries = []library{
	{name: "x/net", serve: serveXNet, returns: true},
	{name: "gorilla", serve: func(s *site) http.Handler {
		return serveGorilla(s, func(read func()) { read() })
	}},
	{name: "gorilla in a goroutine", serve: func(s *site) http.Handler {
		return serveGorilla(s, func(read func()) { go read() })
	}},
	{name: "coder", serve: func(s *site) http.Handler { return serveCoder(s, (*coder.Conn).CloseNow) }},
	{name: "coder's Close", closes: true, serve: func(s *site) http.Handler {
		return serveCoder(s, func(ws *coder.Conn) error { return ws.Close(coder.StatusNormalClosure, "") })
	}},
	{name: "gws", serve: func(s *site) http.Handler { return serveGWS(s, (*gws.Conn).ReadLoop) }},
	{name: "gws in a goroutine", serve: func(s *site) http.Handler {
		return serveGWS(s, func(ws *gws.Conn) { go ws.ReadLoop() })
	}},
	{name: "gobwas", serve: serveGobwas},
	{name: "gobwas without net/http", accept: acceptGobwas},
	{name: "melody", serve: serveMelody},
}

// plainXNet is x/net without Upgrade.
var plainXNet = library{name: "x/net without Upgrade", serve: serveXNet, returns: true, plain: true}

func serveXNet(s *site) http.Handler {
	return xnet.Server{Handler: func(ws *xnet.Conn) {
		p := s.session(ws.Request().URL.Path)
		p.add(ws)
		defer p.leave(ws.Close)
		for {
			var message []byte
			if xnet.Message.Receive(ws, &message) != nil || p.received(message) {
				return
			}
		}
	}}
}

// serveGorilla reads either on the handler's goroutine or, as
// gorilla's chat example does, on one that outlives it.
func serveGorilla(s *site, run func(read func())) http.Handler {
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the library has sent the error
		}
		p := s.session(r.URL.Path)
		p.add(gcpool.Conn(r))
		run(func() {
			defer p.leave(ws.Close)
			for {
				_, message, err := ws.ReadMessage()
				if err != nil || p.received(message) {
					return
				}
			}
		})
	})
}

func serveCoder(s *site, end func(ws *coder.Conn) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := coder.Accept(w, r, &coder.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return // the library has sent the error
		}
		p := s.session(r.URL.Path)
		p.add(gcpool.Conn(r))
		defer p.leave(func() error { return end(ws) })
		for {
			_, message, err := ws.Read(context.Background())
			if err != nil || p.received(message) {
				return
			}
		}
	})
}

// serveGWS ends a connection in a callback, as gws expects.
func serveGWS(s *site, read func(ws *gws.Conn)) http.Handler {
	upgrader := gws.NewUpgrader(gwsEvents{}, nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r)
		if err != nil {
			return // the library has sent the error
		}
		p := s.session(r.URL.Path)
		p.add(gcpool.Conn(r))
		ws.Session().Store("session", p)
		read(ws)
	})
}

type gwsEvents struct{ gws.BuiltinEventHandler }

func (gwsEvents) OnMessage(ws *gws.Conn, message *gws.Message) {
	defer message.Close()
	if p := gwsSession(ws); p.received(message.Bytes()) {
		p.leave(func() error { return ws.WriteClose(1000, nil) })
	}
}

func (gwsEvents) OnClose(ws *gws.Conn, _ error) { gwsSession(ws).leave(ws.NetConn().Close) }

func gwsSession(ws *gws.Conn) *session {
	p, _ := ws.Session().Load("session")
	return p.(*session)
}

func serveGobwas(s *site) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return // the library has sent the error
		}
		s.session(r.URL.Path).serveGobwas(conn)
	})
}

// acceptGobwas serves a connection that it has accepted itself.
func acceptGobwas(s *site, conn net.Conn) {
	var path string
	upgrader := ws.Upgrader{OnRequest: func(uri []byte) error { path = string(uri); return nil }}
	if _, err := upgrader.Upgrade(conn); err != nil {
		conn.Close()
		return
	}
	conn = gcpool.NewConn(conn)
	s.session(path).serveGobwas(conn)
}

func (p *session) serveGobwas(conn net.Conn) {
	p.add(conn)
	defer p.leave(conn.Close)
	for {
		message, _, err := wsutil.ReadClientData(conn)
		if err != nil || p.received(message) {
			return
		}
	}
}

// serveMelody ends a connection in a callback, as melody expects.
func serveMelody(s *site) http.Handler {
	m := melody.New()
	m.Upgrader.CheckOrigin = func(*http.Request) bool { return true }
	m.Config.MaxMessageSize = 1 << 20
	sessionOf := func(ms *melody.Session) *session {
		p, _ := ms.Get("session")
		return p.(*session)
	}
	m.HandleConnect(func(ms *melody.Session) {
		p := s.session(ms.Request.URL.Path)
		ms.Set("session", p)
		p.add(gcpool.Conn(ms.Request))
	})
	m.HandleMessage(func(ms *melody.Session, message []byte) {
		if sessionOf(ms).received(message) {
			ms.CloseWithMsg(melody.FormatCloseMessage(1000, ""))
		}
	})
	m.HandleDisconnect(func(ms *melody.Session) {
		sessionOf(ms).leave(gcpool.Conn(ms.Request).Close)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.HandleRequest(w, r) })
}
