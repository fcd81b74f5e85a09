package promises

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// A nosy error calls the pool whenever it is read or unwrapped.
type nosy struct{ ask func() }

func (n nosy) Error() string { n.ask(); return "nosy" }

func (n nosy) Unwrap() error { n.ask(); return nil }

// TestErrorThatCallsThePool: the methods of a connection's error may call the pool, so the pool
// must hold no lock when it examines the error.
func TestErrorThatCallsThePool(t *testing.T) {
	p, conns, stream := started(t)
	err := nosy{func() { conns.Get("a", func(net.Conn) error { return nil }) }}
	for _, fail := range []func(){
		func() { stream.Deliver(t.Context(), "a", []byte("x")) },
		func() { conns.Get("a", func(net.Conn) error { stream.Add("a", []byte("x")); return err }) },
	} {
		f := newFaulty()
		f.write = func([]byte) (int, error) { time.Sleep(100 * time.Millisecond); return 0, err }
		conns.Add("a", f)
		done := make(chan bool)
		go func() { fail(); close(done) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("the pool holds a lock while it examines an error")
		}
	}
	eventually(t, "settled", func() bool { return p.Stats()[0].Waiting == 0 })
}

// A calling context calls the pool from its Err method.
type calling struct {
	context.Context
	ask func()
}

func (c calling) Err() error { c.ask(); return c.Context.Err() }

// TestErrorOfTheClusterThatCallsThePool: the outcome of a forwarded message is an error whose
// methods ask the pool about the message's id.
func TestErrorOfTheClusterThatCallsThePool(t *testing.T) {
	p, conns, stream := started(t)
	err := nosy{func() { conns.Connected("a") }}
	p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) { done(all(len(batch), err)) }})
	done := make(chan error)
	go func() { done <- stream.Deliver(t.Context(), "a", []byte("x")) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the pool holds a lock while it examines an error")
	}
}

// TestContextThatCallsThePool: a request's context is the application's code, so the pool must
// hold no lock when it calls Err.
func TestContextThatCallsThePool(t *testing.T) {
	_, c, _ := started(t, gcpool.WithHeartbeat(10*time.Millisecond))
	asked := make(chan bool, 100)
	handler := websocket.Handler(func(ws *websocket.Conn) {
		c.Add("alice", ws)
		io.Copy(io.Discard, ws)
	})
	addr := serve(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(calling{r.Context(), func() {
			local(c).Since(name, "alice")
			select {
			case asked <- true:
			default:
			}
		}}))
	}))
	dial(t, addr, "")
	for range 3 {
		select {
		case <-asked:
		case <-time.After(20 * time.Second):
			t.Fatal("Err was not called, or it waits for a lock of the pool")
		}
	}
}
