// Package kept is the server of package before: melody serves, and the pool pushes.
package kept

import (
	"bytes"
	"context"
	"log"
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/docs/migrating/session"
	"github.com/olahol/melody"
)

var userOf = session.UserOf

// begin server

// A Server passes messages of the form "id text" to the user with that id.
type Server struct {
	m    *melody.Melody
	pool *gcpool.Pool
}

// New returns a server.
func New() (*Server, error) {
	s := &Server{melody.New(), gcpool.NewPool(gcpool.WithNewline(false))}
	if err := s.pool.Register("users"); err != nil {
		return nil, err
	}
	s.pool.Start()
	users := s.pool.GetConn("users")
	s.m.Config.MaxMessageSize = 4 << 10
	s.m.Upgrader.CheckOrigin = gcpool.AllowOrigins().Check // melody.New lets every site in
	s.m.HandleConnect(func(from *melody.Session) {
		log.Println(from.MustGet("id"), "came")
		if users.Add(from.MustGet("id").(string), gcpool.Conn(from.Request)) != nil {
			from.Close()
		}
	})
	s.m.HandleDisconnect(func(from *melody.Session) {
		log.Println(from.MustGet("id"), "left")
		users.DelConn(from.MustGet("id").(string), gcpool.Conn(from.Request))
	})
	s.m.HandleMessage(func(from *melody.Session, message []byte) {
		to, text, _ := bytes.Cut(message, []byte(" "))
		s.Push(string(to), text)
	})
	return s, nil
}

// Push sends text to a user, if they are connected. It waits at most a second if they read slowly.
func (s *Server) Push(to string, text []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	text = bytes.ToValidUTF8(text, []byte("?")) // or the browser would hang up
	return s.pool.GetStream("users").AddContext(ctx, to, text)
}

// end server
// begin rest

// Handler serves the users' WebSockets.
func (s *Server) Handler() http.Handler { return gcpool.Upgrade(s) }

// Stop delivers the accepted messages and closes all connections, until ctx ends.
func (s *Server) Stop(ctx context.Context) error {
	defer s.m.Close()
	return s.pool.Shutdown(ctx)
}

// end rest

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := userOf(r)
	if id == "" {
		http.Error(w, "not signed in", http.StatusForbidden)
		return
	}
	s.m.HandleRequestWithKeys(w, r, map[string]any{"id": id})
}
