// Package adapters shows how WebSockets of other libraries go into a pool of
// gcpool. [gcpool.ConnPool.Add] takes any net.Conn; a library's connection
// becomes one in at most 20 lines, of which Write is the only one that matters:
//
//	gorilla.go   github.com/gorilla/websocket
//	coder.go     github.com/coder/websocket
//	gws.go       github.com/lxzan/gws
//	gobwas.go    github.com/gobwas/ws
//
// # What the pool calls
//
// The pool gives a net.Conn one Write a message, with the whole of it, from one
// goroutine at a time. So an adapter's Write sends one frame. The payload has a
// newline behind it, inside the frame, unless the pool was registered with
// [gcpool.WithNewline](false); since frames have ends, such a pool is the better
// one for WebSockets.
//
// There are three exceptions: a *net.TCPConn, a *net.UnixConn and a *tls.Conn
// are byte streams, which get many messages in one Write, and large ones in
// pieces. So the socket under a WebSocket must never be added by itself, though
// it is a net.Conn; with gobwas/ws, whose connections are plain sockets, that is
// an easy mistake.
//
// To end a Write that is stuck the pool sets a write deadline in the past, and
// then closes the connection; both come while the Write is still running. It
// never reads, and never writes again after an error. A Write that fails has
// not sent its frame whole, so the adapters return 0 and the message may go to a
// newer connection of the same id.
//
// # What is different from x/net's connections
//
//   - The pool cannot see when a handler ends. One that returns without removing its
//     connection leaves it there until a write fails. The handlers here call
//     [gcpool.ConnPool.DelConn], which names the connection.
//     [gcpool.ConnPool.Del] does the same on the goroutine that added it, and on one
//     that this has started, as with gorilla, gws and melody; but not in the callback
//     of a library that has an event loop, which may run on any goroutine.
//   - The pool does not ping them. A dead peer is found by a write that takes
//     longer than [gcpool.WithWriteTimeout], by TCP's keep-alive, or by pings of
//     the library's own.
//   - The pool does not tell why it closes a connection. The adapters say 1001,
//     going away; a client that must know of a takeover has to be told before.
//   - Each message is a system call of its own, and a peer's progress is seen as
//     whole messages only.
package adapters

import (
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

const (
	messageMax = 64 << 10               // bytes of a message from a client
	goodbye    = 100 * time.Millisecond // how long a close frame may wait for room in the socket
)

// A Server is an application that serves WebSockets with one of the libraries.
type Server struct {
	Conns *gcpool.ConnPool

	// UserOf returns the id of a request's user, from a session that it has
	// verified, and never from the query; it returns "" for a stranger.
	UserOf func(r *http.Request) string

	// Received is told of each message from a user. It must not keep the slice.
	Received func(id string, message []byte)
}

// admit returns the id of a request that may become a WebSocket: one of a user,
// from a page of this very host (RFC 6455 section 10.2).
func (s *Server) admit(r *http.Request) (id string, ok bool) {
	if gcpool.SameOrigin(new(websocket.Config), r) != nil {
		return "", false
	}
	id = s.UserOf(r)
	return id, id != ""
}

// whole is the result of a Write that sends all of p or fails.
func whole(p []byte, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return len(p), nil
}
