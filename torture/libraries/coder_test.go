package libraries

import (
	"context"
	"io"
	"net"
	"net/http"

	coder "github.com/coder/websocket"
	"github.com/nulijiabei/gcpool"
)

type coderSocket struct {
	ws    *coder.Conn
	added net.Conn
}

func coderHandler(mode coder.CompressionMode) func(h *host) http.Handler {
	return func(h *host) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws, err := coder.Accept(w, r, &coder.AcceptOptions{CompressionMode: mode})
			if err != nil {
				h.t.Error(err)
				return
			}
			ws.SetReadLimit(-1)
			h.serve(h.join(&coderSocket{ws: ws, added: gcpool.Conn(r)}, r))
		})
	}
}

func (s *coderSocket) conn() net.Conn { return s.added }
func (s *coderSocket) close() error   { return s.ws.CloseNow() }

func (s *coderSocket) read(received func(p []byte) bool) {
	for {
		if _, p, err := s.ws.Read(context.Background()); err != nil || !received(p) {
			return
		}
	}
}

func (s *coderSocket) write(p []byte, parts int) error {
	if parts == 1 {
		return s.ws.Write(context.Background(), coder.MessageBinary, p)
	}
	w, err := s.ws.Writer(context.Background(), coder.MessageBinary)
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

func (s *coderSocket) begin(p []byte) (func(tail []byte) error, error) {
	w, err := s.ws.Writer(context.Background(), coder.MessageBinary)
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

// ping waits for the pong, as coder does. coder chooses the payload.
func (s *coderSocket) ping([]byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.ws.Ping(ctx); err != nil {
		return io.ErrClosedPipe
	}
	return nil
}
