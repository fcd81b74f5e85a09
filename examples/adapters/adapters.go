// Package adapters shows WebSockets of other libraries in a pool of gcpool. The library
// stays, and so does its handler: put [gcpool.Upgrade] around it, and add
// [gcpool.Conn](r).
//
//	gorilla.go   github.com/gorilla/websocket
//	coder.go     github.com/coder/websocket
//	gws.go       github.com/lxzan/gws, with ReadLoop() and with go ReadLoop()
//	gobwas.go    github.com/gobwas/ws
//	melody.go    github.com/olahol/melody
//	plain.go     gobwas/ws without net/http, so without Upgrade, and what is lost there
//
// In each file the handler has at most ten lines. Beside it stands the application's own
// part, which knows nothing of the pool: here it sends each message back. Its messages
// and the pool's pass between each other.
//
// The handler has to keep reading, for the library answers pings while it reads. Its Del
// removes its own connection only, never one that has replaced it. Its write deadlines
// bound its own writes, and the pool's are bounded by [gcpool.WithWriteTimeout].
package adapters

import (
	"net/http"

	"github.com/nulijiabei/gcpool"
)

const messageMax = 64 << 10 // bytes of a message from a client

// pages may connect, beside those of the server's own host (RFC 6455 section 10.2).
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

// Under puts Upgrade around a handler, and lets in only users who come from pages. Some
// of the libraries check the Origin themselves. They are told of pages as well, or they
// would refuse those of other hosts.
func (s *Server) Under(serve Handler) http.Handler {
	return gcpool.Upgrade(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := s.UserOf(r)
		if id == "" || !pages.Check(r) {
			w.WriteHeader(http.StatusForbidden) // Upgrade adds why, if it is the Origin
			return
		}
		serve(w, r, id)
	}))
}
