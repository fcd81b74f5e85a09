// Package before is a server with melody: users write to each other by id.
package before

import (
	"bytes"
	"log"
	"net/http"

	"github.com/nulijiabei/gcpool/docs/migrating/session"
	"github.com/olahol/melody"
)

var userOf = session.UserOf

// begin server

// A Server passes messages of the form "id text" to the user with that id.
type Server struct{ m *melody.Melody }

// New returns a server.
func New() *Server {
	s := &Server{melody.New()}
	s.m.Config.MaxMessageSize = 4 << 10
	s.m.HandleConnect(func(from *melody.Session) { log.Println(from.MustGet("id"), "came") })
	s.m.HandleDisconnect(func(from *melody.Session) { log.Println(from.MustGet("id"), "left") })
	s.m.HandleMessage(func(from *melody.Session, message []byte) {
		to, text, _ := bytes.Cut(message, []byte(" "))
		s.Push(string(to), text)
	})
	return s
}

// Push sends text to a user, wherever they are connected.
func (s *Server) Push(to string, text []byte) error {
	return s.m.BroadcastFilter(text, func(other *melody.Session) bool {
		return other.MustGet("id") == to
	})
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := userOf(r)
	if id == "" {
		http.Error(w, "not signed in", http.StatusForbidden)
		return
	}
	s.m.HandleRequestWithKeys(w, r, map[string]any{"id": id})
}

// Stop closes all connections.
func (s *Server) Stop() error { return s.m.Close() }

// end server
