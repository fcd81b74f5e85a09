package libraries

import (
	"net"
	"net/http"
	"time"

	gorilla "github.com/gorilla/websocket"
	"github.com/nulijiabei/gcpool"
)

type gorillaWay struct{ pump, wrapped, deflate bool }

// wrapper imitates the wrapper that gorilla's main branch puts around
// the connection that it hijacked.
type wrapper struct{ net.Conn }

func (w wrapper) NetConn() net.Conn { return w.Conn }

type gorillaSocket struct {
	ws    *gorilla.Conn
	added net.Conn
}

// gorillaHandler reads either on the handler's goroutine or, as gorilla's chat example does, on
// one that outlives the handler.
func gorillaHandler(way gorillaWay) func(h *host) http.Handler {
	return func(h *host) http.Handler {
		upgrader := gorilla.Upgrader{EnableCompression: way.deflate}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				h.t.Error(err)
				return
			}
			s := &gorillaSocket{ws: ws, added: gcpool.Conn(r)}
			if way.wrapped {
				s.added = wrapper{ws.NetConn()}
			}
			if v := h.join(s, r); way.pump {
				go h.serve(v)
			} else {
				h.serve(v)
			}
		})
	}
}

func (s *gorillaSocket) conn() net.Conn { return s.added }
func (s *gorillaSocket) close() error   { return s.ws.Close() }

func (s *gorillaSocket) read(received func(p []byte) bool) {
	for {
		if _, p, err := s.ws.ReadMessage(); err != nil || !received(p) {
			return
		}
	}
}

func (s *gorillaSocket) write(p []byte, parts int) error {
	s.ws.SetWriteDeadline(time.Now().Add(patience))
	if parts == 1 {
		return s.ws.WriteMessage(gorilla.BinaryMessage, p)
	}
	w, err := s.ws.NextWriter(gorilla.BinaryMessage)
	if err != nil {
		return err
	}
	for _, part := range split(p, parts) {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Close()
}

func (s *gorillaSocket) begin(p []byte) (func(tail []byte) error, error) {
	s.ws.SetWriteDeadline(time.Now().Add(patience))
	w, err := s.ws.NextWriter(gorilla.BinaryMessage)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(p)
	return func(tail []byte) error {
		if _, err := w.Write(tail); err != nil {
			return err
		}
		return w.Close()
	}, err
}

func (s *gorillaSocket) ping(p []byte) error {
	return s.ws.WriteControl(gorilla.PingMessage, p, time.Now().Add(patience))
}
