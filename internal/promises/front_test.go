package promises

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestHandlerThatMiddlewareEnds: middleware in front of Upgrade ends the handler's context, as
// a server does at its shutdown. However the handler then ends its connection, the close code
// tells the peer to come back, unless the application gives another code. A connection whose
// handler returned earlier is closed with 1000.
func TestHandlerThatMiddlewareEnds(t *testing.T) {
	const normal, away = "\x03\xe8", "\x03\xe9"
	for what, test := range map[string]struct {
		handler func(conns *gcpool.ConnPool, ended <-chan struct{}, conn net.Conn)
		want    string
		alone   bool // the handler returned long ago
	}{
		"Del": {func(conns *gcpool.ConnPool, ended <-chan struct{}, conn net.Conn) {
			<-ended
			conns.Del("a")
		}, away, false},
		"DelConn": {func(conns *gcpool.ConnPool, ended <-chan struct{}, conn net.Conn) {
			<-ended
			conns.DelConn("a", conn)
		}, away, false},
		"the library": {func(conns *gcpool.ConnPool, ended <-chan struct{}, conn net.Conn) {
			<-ended
			conn.Close()
		}, away, false},
		"Kick with 1000": {func(conns *gcpool.ConnPool, ended <-chan struct{}, conn net.Conn) {
			<-ended
			conns.Kick("a", 1000, "")
		}, normal, false},
		"a library that goes on alone": {func(conns *gcpool.ConnPool, ended <-chan struct{}, conn net.Conn) {
			<-ended
			conn.Close()
		}, normal, true},
	} {
		t.Run(what, func(t *testing.T) {
			_, conns, _ := started(t)
			ctx, end := context.WithCancel(t.Context())
			defer end()
			returned := make(chan bool)
			inner := gcpool.Upgrade(library(t, func(r *http.Request, conn net.Conn) {
				conns.Add("a", gcpool.Conn(r))
				if test.alone {
					go test.handler(conns, ctx.Done(), conn)
				} else {
					test.handler(conns, r.Context().Done(), conn)
				}
			}))
			addr := serve(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				inner.ServeHTTP(w, r.WithContext(ctx))
				close(returned)
			}))
			_, in := handshake(t, addr, "", 0)
			if test.alone {
				<-returned
			}
			end()
			if op, code, err := frame(in); op != 0x88 || code != test.want || err != nil {
				t.Errorf("received %x with %x, %v; want the code %x", op, code, err, test.want)
			}
		})
	}
}

// TestXNetThatMiddlewareEnds: x/net closes the connection when the handler returns.
func TestXNetThatMiddlewareEnds(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	inner := gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) { <-ws.Request().Context().Done() }))
	addr := serve(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inner.ServeHTTP(w, r.WithContext(ctx)) }))
	_, in := handshake(t, addr, "", 0)
	end()
	if op, code, err := frame(in); op != 0x88 || code != "\x03\xe9" || err != nil {
		t.Errorf("received %x with %x, %v", op, code, err)
	}
}
