package del

import (
	"bufio"
	"net"
	"net/http"

	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	"github.com/nulijiabei/gcpool"
	"github.com/olahol/melody"
	"golang.org/x/net/websocket"
)

// kinds are the kinds whose handlers remove their own connection and no other.
var kinds = []kind{
	{name: "xnet", seen: true, open: web(xnet)},
	{name: "xnet upgraded", seen: true, open: web(func(s *site) http.Handler { return gcpool.Upgrade(xnet(s)) })},
	{name: "xnet pump", seen: true, open: web(xnetPump)},
	{name: "xnet pump upgraded", seen: true, open: web(func(s *site) http.Handler { return gcpool.Upgrade(xnetPump(s)) })},
	{name: "gorilla pump", open: web(gorillaPump)},
	{name: "gws", open: web(func(s *site) http.Handler { return gwsHandler(s, gwsEvents{adds: true}) })},
	{name: "gws added before", open: web(func(s *site) http.Handler { return gwsHandler(s, gwsEvents{}) })},
	{name: "melody", open: web(melodyHandler)},
	{name: "pipe", open: pipes},
	{name: "hub", delConn: true, open: hub},
	{name: "accept loop", delConn: true, open: acceptLoop},
}

// xnet reads on the handler's goroutine.
func xnet(s *site) http.Handler {
	return websocket.Handler(func(ws *websocket.Conn) {
		s.visit(ws.Request().URL.RawQuery).handle(ws, message(ws))
	})
}

// xnetPump reads on another goroutine, which makes the first call at
// the end; the handler makes the rest.
func xnetPump(s *site) http.Handler {
	return websocket.Handler(func(ws *websocket.Conn) {
		v := s.visit(ws.Request().URL.RawQuery)
		defer close(v.returned)
		v.join(ws)
		done := make(chan bool)
		go func() {
			defer close(done)
			v.read(message(ws))
			v.tidyUp(1)
		}()
		<-done
		v.tidyUp(-1)
	})
}

// message returns a function that reads a short message.
func message(ws *websocket.Conn) func() error {
	buf := make([]byte, 100)
	return func() error {
		_, err := ws.Read(buf)
		return err
	}
}

// gorillaPump returns and leaves its connection to a goroutine that
// reads, as in gorilla's chat example.
func gorillaPump(s *site) http.Handler {
	var upgrader gorilla.Upgrader
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			s.t.Error(err)
			return
		}
		v := s.visit(r.URL.RawQuery)
		v.join(&gorillaConn{ws.NetConn(), ws})
		go func() {
			defer close(v.returned)
			defer ws.Close()
			v.read(func() error {
				_, _, err := ws.ReadMessage()
				return err
			})
			v.tidyUp(-1)
		}()
	})
}

// gwsEvents has the event handlers, which gws calls on the goroutine of ReadLoop.
type gwsEvents struct {
	gws.BuiltinEventHandler
	adds bool // OnOpen adds the connection; otherwise the HTTP handler does
}

// gwsHandler returns while the connection lives on, as gws expects.
func gwsHandler(s *site, events gwsEvents) http.Handler {
	upgrader := gws.NewUpgrader(events, nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r)
		if err != nil {
			s.t.Error(err)
			return
		}
		v := s.visit(r.URL.RawQuery)
		ws.Session().Store("visit", v)
		if !events.adds {
			v.join(&gwsConn{ws.NetConn(), ws})
		}
		go ws.ReadLoop()
	})
}

func gwsVisit(ws *gws.Conn) *visit {
	v, _ := ws.Session().Load("visit")
	return v.(*visit)
}

func (e gwsEvents) OnOpen(ws *gws.Conn) {
	if e.adds {
		gwsVisit(ws).join(&gwsConn{ws.NetConn(), ws})
	}
}

func (gwsEvents) OnMessage(ws *gws.Conn, m *gws.Message) {
	m.Close()
	gwsVisit(ws).tidyUp(1)
}

func (gwsEvents) OnClose(ws *gws.Conn, _ error) { end(gwsVisit(ws)) }

// end is the OnClose handler.
func end(v *visit) {
	defer close(v.returned)
	close(v.tidies)
	v.tidyUp(-1)
}

// melodyHandler serves with melody, which calls all its handlers on the HTTP handler's
// goroutine.
func melodyHandler(s *site) http.Handler {
	m := melody.New()
	s.t.Cleanup(func() { m.Close() })
	visit := func(session *melody.Session) *visit { return s.visit(session.Request.URL.RawQuery) }
	m.HandleConnect(func(session *melody.Session) { visit(session).join(&melodyConn{session: session}) })
	m.HandleMessage(func(session *melody.Session, _ []byte) { visit(session).tidyUp(1) })
	m.HandleDisconnect(func(session *melody.Session) { end(visit(session)) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := m.HandleRequest(w, r); err != nil {
			s.t.Error(err)
		}
	})
}

// pipes makes connections in memory, each handled by a goroutine.
func pipes(s *site) {
	s.dial = func(v *visit) *peer {
		conn, other := net.Pipe()
		go v.handle(conn, line(conn))
		return rawPeer(other)
	}
}

// line returns a function that reads a line.
func line(conn net.Conn) func() error {
	r := bufio.NewReader(conn)
	return func() error {
		_, err := r.ReadString('\n')
		return err
	}
}
