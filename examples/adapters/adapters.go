// Package adapters adds WebSockets of other libraries to a gcpool pool. Keep the library and
// its handler: put [gcpool.Upgrade] around the handler, and add [gcpool.Conn](r).
//
//	gorilla.go   github.com/gorilla/websocket
//	coder.go     github.com/coder/websocket
//	gws.go       github.com/lxzan/gws, with ReadLoop() and with go ReadLoop()
//	gobwas.go    github.com/gobwas/ws
//	melody.go    github.com/olahol/melody
//	plain.go     gobwas/ws without net/http, and so without Upgrade; it lists what that costs
//
// In each file the handler has at most ten lines. The application's own code stands next to it and
// knows nothing of the pool: here it echoes each message. Its messages and the pool's are written
// one at a time.
//
// The handler must keep reading, because the library answers pings while it reads. Its Del
// removes only its own connection, and never a newer one. Its write deadlines bound only its
// own writes; [gcpool.WithWriteTimeout] bounds the pool's.
package adapters

import (
	"net/http"

	"github.com/nulijiabei/gcpool"
)

const messageMax = 64 << 10 // bytes of a message from a client

// pages are the hosts whose pages may connect, in addition to pages of the server's own host
// (RFC 6455 section 10.2).
var pages = gcpool.AllowOrigins("app.example.com")

// A Server is an application that serves WebSockets with one of the libraries.
type Server struct {
	Conns *gcpool.ConnPool

	// UserOf returns the id of a request's user, from a session that it has
	// verified, and never from the query; it returns "" for a stranger.
	UserOf func(r *http.Request) string
}

// A Handler serves the WebSocket of a user, with one of the libraries.
type Handler func(w http.ResponseWriter, r *http.Request, id string)

// Under puts Upgrade around a handler, and lets in only users whose page is in pages. Some
// libraries check the Origin themselves. They get the same list, or they would refuse pages
// of other hosts.
func (s *Server) Under(serve Handler) http.Handler {
	return gcpool.Upgrade(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := s.UserOf(r)
		if id == "" || !pages.Check(r) {
			w.WriteHeader(http.StatusForbidden) // Upgrade adds the reason if it is the Origin
			return
		}
		serve(w, r, id)
	}))
}
