package promises

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// contexts are ways to end a request's context before its handler ends.
var contexts = map[string]func(http.Handler) (http.Handler, func()){
	"timeout middleware": func(h http.Handler) (http.Handler, func()) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Millisecond)
			defer cancel()
			h.ServeHTTP(w, r.WithContext(ctx))
		}), func() {}
	},
	"base context": func(h http.Handler) (http.Handler, func()) {
		base, cancel := context.WithCancel(context.Background())
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, stop := context.WithCancel(r.Context())
			defer stop()
			context.AfterFunc(base, stop)
			h.ServeHTTP(w, r.WithContext(ctx))
		}), cancel
	},
}

func TestContextThatEndsEarlyIsNotTheHandlersEnd(t *testing.T) {
	t.Parallel()
	for name, wrap := range contexts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, upgrade wrapper) {
				p, conns, stream := started(t)
				old := &late{make(chan chan struct{}, 10)}
				ended, returned := make(chan context.Context, 10), make(chan bool, 10)
				inner := verbatim(p, old.leave)
				h, cancel := wrap(websocket.Handler(func(ws *websocket.Conn) {
					ended <- ws.Request().Context()
					inner(ws)
					returned <- true
				}))
				addr := serve(t, upgrade, h)
				dial(t, addr, "id=a")
				ctx := <-ended
				eventually(t, "joined", func() bool { return conns.Len() == 1 })
				cancel()
				<-ctx.Done()
				time.Sleep(1500 * time.Millisecond) // the pool looks at every connection once a second
				if conns.Len() != 1 {
					t.Fatal("the connection was treated as if its handler had returned")
				}
				ws := dial(t, addr, "id=a")
				<-(<-ended).Done()
				eventually(t, "taken over", func() bool { return len(old.handlers) == 1 })
				old.letGo()
				<-returned
				for range 20 {
					if err := stream.Deliver(t.Context(), "a", []byte("x")); err != nil {
						t.Fatal("the late handler's Del removed the new connection: ", err)
					}
					lines(t, bufio.NewReader(ws), 1)
				}
				if !conns.Del("a") {
					t.Error("a Del from outside removes nothing")
				}
				old.letGo()
			})
		})
	}
}

func TestHandlerThatReturnsWithoutDelLeavesNothing(t *testing.T) {
	t.Parallel()
	both(t, testHandlerThatReturnsWithoutDelLeavesNothing)
}

func testHandlerThatReturnsWithoutDelLeavesNothing(t *testing.T, wrap wrapper) {
	_, conns, _ := started(t)
	addr := serve(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
		conns.Add("a", ws)
		ws.Read(make([]byte, 1))
	}))
	ws := dial(t, addr, "")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	ws.Close()
	eventually(t, "left", func() bool { return conns.Len() == 0 })

	first := dial(t, addr, "")
	eventually(t, "joined again", func() bool { return conns.Len() == 1 })
	first.Write([]byte("x")) // the handler returns; the pool has not checked yet
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Fatal("the handler did not return")
	}
	time.Sleep(10 * time.Millisecond)
	dial(t, addr, "")
	eventually(t, "back", func() bool { return conns.Len() == 1 })
	eventually(t, "a kick works", func() bool { return conns.Del("a") })
}

// TestHandlerOverAPipeLeavesNothing: a handler that returns without Del leaves no entry
// in the pool.
func TestHandlerOverAPipeLeavesNothing(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		synctest.Test(t, func(t *testing.T) {
			_, c, _ := started(t, gcpool.WithHeartbeat(0))
			returned := make(chan bool, 1)
			connect := serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
				c.Add("a", ws)
				io.Copy(io.Discard, ws)
				returned <- true
			}))
			_, ws := connect("")
			synctest.Wait()
			ws.Close()
			<-returned
			time.Sleep(10 * time.Minute)
			if n := c.Len(); n != 0 {
				t.Errorf("ten minutes after the handler has returned, %d are connected", n)
			}
		})
	})
}
