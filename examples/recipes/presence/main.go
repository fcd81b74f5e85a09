// Presence shows all users who is online: it pushes the list to all connected users after each
// change, and serves it at GET /online.
//
//	go run ./examples/recipes/presence
//	go run ./examples/recipes/connect -session demo-alice ws://localhost:8080/ws
//	go run ./examples/recipes/connect -session demo-bob   ws://localhost:8080/ws
//	curl -b session=demo-alice http://localhost:8080/online
package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/recipes/internal/demo"
	"golang.org/x/net/websocket"
)

const pause = 50 * time.Millisecond // between two lists, so that many joins make one list

func main() { demo.Main("presence", serve) }

func serve(ctx context.Context, listener net.Listener) error {
	o := online{changed: make(chan struct{}, 1)}
	pool := gcpool.NewPool(gcpool.WithPresence(func(string, string, bool) { o.mark() }))
	if err := pool.Register("users"); err != nil {
		return err
	}
	pool.Start()
	o.conns, o.stream = pool.GetConn("users"), pool.GetStream("users")
	go o.announce(ctx)
	mux := http.NewServeMux()
	mux.Handle("GET /ws", gcpool.Upgrade(websocket.Server{Handshake: demo.Handshake, Handler: o.connected}))
	mux.HandleFunc("GET /online", o.get)
	return demo.Serve(ctx, listener, mux, pool)
}

type online struct {
	conns   *gcpool.ConnPool
	stream  *gcpool.StreamPool
	changed chan struct{} // holds a signal if anything has changed since the last list
}

func (o online) connected(ws *websocket.Conn) {
	id := demo.UserOf(ws.Request())
	if o.conns.Add(id, ws) != nil {
		return
	}
	defer o.conns.Del(id)
	o.mark()                // a takeover is not a presence event, but the new page needs the list
	io.Copy(io.Discard, ws) // until the user leaves; reading answers pings
}

// mark asks for a new list. It does not wait for the push, because the pool's hook calls it.
func (o online) mark() {
	select {
	case o.changed <- struct{}{}:
	default: // the next list includes this change
	}
}

// announce pushes a list after each change. It does not use Broadcast, which waits for slow
// users; here they get the next list.
func (o online) announce(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-o.changed:
		case <-ctx.Done():
		}
		list := o.list()
		for id := range o.conns.All() {
			soon, cancel := context.WithTimeout(ctx, pause)
			if o.stream.AddContext(soon, id, list) != nil {
				o.mark()
			}
			cancel()
		}
		time.Sleep(pause)
	}
}

func (o online) list() []byte {
	names := []string{}
	for id := range o.conns.All() {
		names = append(names, id)
	}
	slices.Sort(names)
	list, _ := json.Marshal(map[string][]string{"online": names}) // it cannot fail
	return list
}

func (o online) get(w http.ResponseWriter, r *http.Request) {
	if demo.UserOf(r) == "" {
		http.Error(w, "not signed in", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(o.list(), '\n'))
}
