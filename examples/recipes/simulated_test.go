package recipes

import (
	"errors"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// newHandler returns what the test is about.
func newHandler(users *gcpool.ConnPool) http.Handler {
	return gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
		id := ws.Request().FormValue("id") // in your server, from the session
		if users.Add(id, ws) != nil {
			return
		}
		defer users.Del(id)
		for text := ""; websocket.Message.Receive(ws, &text) == nil; {
		}
	}))
}

// TestHandlerInSimulatedTime takes 10 s of simulated time, which pass at once. In its bubble, time
// goes on when every goroutine waits. So everything is made inside the bubble, and the connections
// are pipes, because nobody can tell what a real socket waits for.
func TestHandlerInSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := gcpool.NewPool(gcpool.WithWriteTimeout(10*time.Second), gcpool.WithNewline(false))
		if err := pool.Register("users"); err != nil {
			t.Fatal(err)
		}
		pool.Start()
		conns, stream := pool.GetConn("users"), pool.GetStream("users")

		listener, server := make(pipes), &http.Server{Handler: newHandler(conns)}
		go server.Serve(listener)
		defer server.Close()
		defer pool.Shutdown(t.Context())
		dial := func(id string) *websocket.Conn {
			client, conn := net.Pipe()
			listener <- conn
			config, err := websocket.NewConfig("ws://host/?id="+id, "http://host")
			if err != nil {
				t.Fatal(err)
			}
			ws, err := websocket.NewClient(config, client)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the handler has called Add, and waits for a message
			return ws
		}

		alice := dial("alice")
		defer alice.Close()
		if err := stream.Add("alice", []byte("hello")); err != nil {
			t.Error(err)
		}
		text := ""
		if err := websocket.Message.Receive(alice, &text); text != "hello" {
			t.Errorf("alice got %q, %v", text, err)
		}

		bob := dial("bob") // who reads nothing
		defer bob.Close()
		start := time.Now()
		err := stream.Deliver(t.Context(), "bob", []byte("hello"))
		took := time.Since(start).Round(100 * time.Millisecond) // the pool looks every 5 ms
		if !errors.Is(err, gcpool.ErrSlow) || took != 10*time.Second {
			t.Errorf("a push to bob ended after %v with %v", took, err)
		}
		synctest.Wait()
		if conns.Connected("bob") != 0 {
			t.Error("bob is connected, though he takes nothing")
		}
	})
}

// pipes is a listener whose connections are pipes.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error {
	close(p)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }
