// Package clients shows one server with four clients: a browser, Node.js, Python without
// any library, and Go. Its tests push 1,000 messages to each client and then leave it idle
// for three heartbeats.
//
//	browser/index.html   a page
//	node/client.mjs      the ws package of npm
//	python/client.py     the standard library and a raw socket
//	clients_test.go      golang.org/x/net/websocket, among the tests
//
// Each client keeps the same record: the length of each message, and a digest that starts
// with 32 zeros and becomes SHA-256(digest + message) with each message, so that it also
// depends on the order. After the message "report", the client sends its record as a line
// of JSON.
//
// Each client obeys the close code, if its library reports it. After 1000, and after 4500 to
// 4999, it stays away. Otherwise it comes back after a random time, whose limit grows with
// each failure.
//
// setup.sh installs the missing clients. A test whose client is missing is skipped, or fails if
// GCPOOL_REQUIRE_CLIENTS is 1.
package clients

import (
	"bufio"
	_ "embed"
	"net/http"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

const recordMax = 64 << 10 // bytes of a client's record

//go:embed browser/index.html
var page []byte

// A Server pushes to users who are signed in.
type Server struct {
	Conns    *gcpool.ConnPool
	UserOf   func(r *http.Request) string          // from a verified session; "" for a stranger
	Received func(ws *websocket.Conn, line []byte) // called for each line; must not keep it
	Joined   func(id string, ws *websocket.Conn)
}

// Handler serves the page at / and the WebSocket at /ws. With ?kind=binary it
// pushes binary messages.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.Handle("GET /ws", gcpool.Upgrade(websocket.Server{Handshake: s.handshake, Handler: s.serve}))
	return mux
}

// handshake lets in users who are signed in, from a page of this server.
func (s *Server) handshake(config *websocket.Config, r *http.Request) error {
	if err := gcpool.SameOrigin(config, r); err != nil {
		return err
	}
	if s.UserOf(r) == "" {
		return http.ErrNoCookie
	}
	return nil
}

func (s *Server) serve(ws *websocket.Conn) {
	if ws.Request().FormValue("kind") == "binary" {
		ws.PayloadType = websocket.BinaryFrame // before Add, which reads it
	}
	id := s.UserOf(ws.Request())
	if s.Conns.Add(id, ws) != nil {
		return
	}
	defer s.Conns.Del(id)
	s.Joined(id, ws)
	lines := bufio.NewScanner(ws)
	lines.Buffer(nil, recordMax)
	for lines.Scan() {
		s.Received(ws, lines.Bytes())
	}
}
