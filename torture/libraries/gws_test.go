package libraries

import (
	"bytes"
	"io"
	"net"
	"net/http"

	"github.com/lxzan/gws"
	"github.com/nulijiabei/gcpool"
)

type gwsSocket struct {
	ws       *gws.Conn
	added    net.Conn
	received func(p []byte) bool
}

// gwsEvents finds the socket in the session, as applications do.
type gwsEvents struct{ gws.BuiltinEventHandler }

func (gwsEvents) OnPing(ws *gws.Conn, p []byte) { ws.WritePong(p) }

func (gwsEvents) OnMessage(ws *gws.Conn, m *gws.Message) {
	defer m.Close()
	s, _ := ws.Session().Load("socket")
	if !s.(*gwsSocket).received(m.Bytes()) {
		ws.WriteClose(1000, nil)
	}
}

// gwsHandler returns while ReadLoop runs, as gws expects.
func gwsHandler(deflate, takeover bool) func(h *host) http.Handler {
	return func(h *host) http.Handler {
		upgrader := gws.NewUpgrader(gwsEvents{}, &gws.ServerOption{PermessageDeflate: gws.PermessageDeflate{
			Enabled: deflate, ServerContextTakeover: takeover, ClientContextTakeover: takeover}})
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := upgrader.Upgrade(w, r)
			if err != nil {
				h.t.Error(err)
				return
			}
			s := &gwsSocket{ws: ws, added: gcpool.Conn(r)}
			ws.Session().Store("socket", s)
			go h.serve(h.join(s, r))
		})
	}
}

func (s *gwsSocket) conn() net.Conn      { return s.added }
func (s *gwsSocket) close() error        { return s.ws.WriteClose(1000, nil) }
func (s *gwsSocket) ping(p []byte) error { return s.ws.WritePing(p) }

func (s *gwsSocket) read(received func(p []byte) bool) {
	s.received = received
	s.ws.ReadLoop()
}

func (s *gwsSocket) write(p []byte, parts int) error {
	if parts == 1 {
		return s.ws.WriteMessage(gws.OpcodeBinary, p)
	}
	return s.ws.WriteFile(gws.OpcodeBinary, bytes.NewReader(p)) // fragments of 128 KiB
}

func (s *gwsSocket) begin(p []byte) (func(tail []byte) error, error) {
	r, w := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := s.ws.WriteFile(gws.OpcodeBinary, r)
		r.CloseWithError(io.ErrClosedPipe)
		sent <- err
	}()
	_, err := w.Write(p)
	return func(tail []byte) error {
		w.Write(tail)
		w.Close()
		return <-sent
	}, err
}
