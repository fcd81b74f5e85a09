//go:build unix && !aix

package promises

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/internal/socket"
	"golang.org/x/net/websocket"
)

// TestHandshakeOfAClientThatHasGone: a server takes a request from its backlog after the client
// has closed. The request must not replace the connection that the user has by then.
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
		func() { h.ServeHTTP(w, r) }() // middleware, so it returns only after the handler
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

// TestAddForAClientThatHasGone: a handler is slow to call Add, and meanwhile its client has
// come back, to this process or to another one of a cluster. Neither that Add nor the handler's
// Del may remove the new connection.
func TestAddForAClientThatHasGone(t *testing.T) {
	for what, test := range map[string]struct {
		said      string
		elsewhere bool
	}{
		"silent":                {},
		"with bytes that wait":  {said: "\x81\x82\x00\x00\x00\x00hi"},
		"back in another place": {elsewhere: true},
	} {
		t.Run(what, func(t *testing.T) {
			if test.said != "" && runtime.GOOS != "linux" {
				t.Skip("only Linux reports that a client has gone")
			}
			_, conns, stream := started(t)
			back := conns
			if test.elsewhere {
				var b bus
				back = b.join(t).conns
				first := b.join(t)
				conns, stream = first.conns, first.stream
			}
			add, removes, sockets := make(chan struct{}), make(chan bool, 1), make(chan net.Conn, 2)
			srv := httptest.NewUnstartedServer(gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
				if ws.Request().FormValue("first") == "" {
					back.Add("alice", ws)
					io.Copy(io.Discard, ws)
					back.Del("alice")
					return
				}
				<-add
				conns.Add("alice", ws)
				io.Copy(io.Discard, ws)
				removes <- conns.Del("alice")
			})))
			srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
				sockets <- c
				return ctx
			}
			srv.Start()
			t.Cleanup(srv.Close)
			addr := srv.Listener.Addr().String()

			ghost, _ := handshake(t, addr, "first=1", 0)
			io.WriteString(ghost, test.said)
			ghost.Close()
			eventually(t, "the client has gone", func() bool { return len(sockets) > 0 })
			ours := <-sockets
			eventually(t, "the system knows", func() bool { return socket.Gone(ours) })
			alice := dial(t, addr, "")
			eventually(t, "the client has come back", func() bool { return back.Connected("alice") == 1 })
			close(add)
			if <-removes {
				t.Error("the first handler's Del has removed a connection")
			}
			if err := stream.Add("alice", []byte("x")); err != nil {
				t.Fatal(err)
			}
			var got string
			alice.SetReadDeadline(time.Now().Add(20 * time.Second))
			if err := websocket.Message.Receive(alice, &got); err != nil || got != "x\n" {
				t.Errorf("alice received %q, %v", got, err)
			}
		})
	}
}
