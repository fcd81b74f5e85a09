// Package after is the server of package before, on gcpool.
package after

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/docs/migrating/session"
	"golang.org/x/net/websocket"
)

var userOf = session.UserOf

// begin server

// A Server passes messages of the form "id text" to the user with that id.
type Server struct{ pool *gcpool.Pool }

// New returns a server.
func New() (*Server, error) {
	s := &Server{gcpool.NewPool(
		gcpool.WithNewline(false), // frames as melody sent them
		gcpool.WithPresence(func(_, id string, connected bool) {
			log.Printf("%q connected: %t", id, connected)
		}),
	)}
	if err := s.pool.Register("users"); err != nil {
		return nil, err
	}
	s.pool.Start()
	return s, nil
}

// Push sends text to a user, if they are connected.
func (s *Server) Push(ctx context.Context, to string, text []byte) error {
	return s.pool.GetStream("users").Deliver(ctx, to, bytes.ToValidUTF8(text, []byte("?")))
}

// Handler serves the users' WebSockets.
func (s *Server) Handler() http.Handler {
	return gcpool.Upgrade(websocket.Server{Handshake: s.admit, Handler: s.serve})
}

func (s *Server) admit(config *websocket.Config, r *http.Request) error {
	if userOf(r) == "" {
		return fmt.Errorf("%s: not signed in", r.RemoteAddr)
	}
	return gcpool.SameOrigin(config, r) // melody.New lets every site in
}

func (s *Server) serve(ws *websocket.Conn) {
	id := userOf(ws.Request())
	if s.pool.GetConn("users").Add(id, ws) != nil {
		return
	}
	defer s.pool.GetConn("users").Del(id)
	ws.MaxPayloadBytes = 4 << 10
	for {
		var message []byte
		if websocket.Message.Receive(ws, &message) != nil {
			return
		}
		message = bytes.ToValidUTF8(message, []byte("?")) // or the browser would hang up
		to, text, _ := bytes.Cut(message, []byte(" "))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second) // the user may read slowly
		err := s.pool.GetStream("users").AddContext(ctx, string(to), text)
		if cancel(); errors.Is(err, gcpool.ErrClosed) {
			return
		}
	}
}

// Stop delivers the accepted messages and closes all connections, until ctx ends.
func (s *Server) Stop(ctx context.Context) error { return s.pool.Shutdown(ctx) }

// end server
