//go:build unix && !aix

package promises

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestHandshakeOfAClientThatHasGone: a request that a server finds in its backlog, and whose
// client has closed since, does not replace the connection that the user has by then.
func TestHandshakeOfAClientThatHasGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ghost, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(ghost, "GET /?id=alice HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	ghost.Close()

	_, conns, stream := started(t)
	alice, theirs := net.Pipe()
	defer alice.Close()
	conns.Add("alice", theirs)
	served := make(chan struct{})
	h := gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) { conns.Add(ws.Request().FormValue("id"), ws) }))
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		func() { h.ServeHTTP(w, r) }() // middleware, so it returns when the handler has
		close(served)
	})}
	go srv.Serve(l)
	defer srv.Close()
	<-served
	var conn net.Conn
	conns.Get("alice", func(c net.Conn) error { conn = c; return nil })
	if conn != theirs {
		t.Fatalf("alice has %v", conn)
	}
	go stream.Add("alice", []byte("x"))
	if b := make([]byte, 2); true {
		if _, err := alice.Read(b); err != nil || string(b) != "x\n" {
			t.Errorf("alice received %q, %v", b, err)
		}
	}
}
