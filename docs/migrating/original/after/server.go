// Package after is the server of package before, using what gcpool offers now.
package after

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/docs/migrating/session"
	"golang.org/x/net/websocket"
)

var userOf = session.UserOf

// begin server

// A Server pushes to its users.
type Server struct{ pool *gcpool.Pool }

// New returns a server that logs what it could not deliver.
func New() (*Server, error) {
	s := &Server{gcpool.NewPool(gcpool.WithUndelivered(func(u gcpool.Undelivered) {
		log.Printf("%q did not get %d bytes: %v", u.ID, len(u.Data), u.Err)
	}))}
	if err := s.pool.Register("default"); err != nil {
		return nil, err
	}
	s.pool.Start()
	return s, nil
}

// Routes returns the handler of the server.
func (s *Server) Routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/hello", gcpool.Upgrade(websocket.Server{
		Handshake: s.admit,
		Handler:   s.hello,
	}))
	return mux
}

// admit lets in users, from pages of this host.
func (s *Server) admit(config *websocket.Config, r *http.Request) error {
	if userOf(r) == "" {
		return fmt.Errorf("%s: not signed in", r.RemoteAddr)
	}
	return gcpool.SameOrigin(config, r)
}

func (s *Server) hello(ws *websocket.Conn) {
	id := userOf(ws.Request()) // from the session, not from the query
	if err := s.pool.GetConn("default").Add(id, ws); err != nil {
		return
	}
	defer s.pool.GetConn("default").Del(id)
	lines := bufio.NewScanner(ws)
	lines.Buffer(make([]byte, 512), 64<<10) // the longest line
	for lines.Scan() {
		if err := s.pool.GetStream("default").Add(id, lines.Bytes()); err != nil {
			return
		}
	}
}

// Stop delivers the accepted messages and closes all connections, until ctx ends. Call it after
// http.Server.Shutdown, which ignores WebSockets.
func (s *Server) Stop(ctx context.Context) error { return s.pool.Shutdown(ctx) }

// end server
