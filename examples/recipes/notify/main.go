// Notify pushes to a user what another service posts: the order service says
// that an order has shipped, and the user's page shows it.
//
//	SERVICE_KEY=secret go run ./examples/recipes/notify
//	go run ./examples/recipes/connect -session demo-alice ws://localhost:8080/ws
//	curl -i -H 'Authorization: Bearer secret' -d 'your order has shipped' http://localhost:8080/notify/alice
//	curl -i -H 'Authorization: Bearer secret' -d 'are you there?' http://localhost:8080/notify/bob
//
// The answer is the outcome: 204 if it was written, 404 if the user is not
// connected, 503 if it could not be written within two seconds.
package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/recipes/internal/demo"
	"golang.org/x/net/websocket"
)

func main() { demo.Main("notify", serve) }

func serve(ctx context.Context, listener net.Listener) error {
	pool := gcpool.NewPool()
	if err := pool.Register("users"); err != nil {
		return err
	}
	pool.Start()
	u := users{pool.GetConn("users"), pool.GetStream("users")}
	mux := http.NewServeMux()
	mux.Handle("GET /ws", gcpool.Upgrade(websocket.Server{Handshake: demo.Handshake, Handler: u.connected}))
	mux.HandleFunc("POST /notify/{user}", demo.Services(u.notify))
	return demo.Serve(ctx, listener, mux, pool)
}

type users struct {
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
}

func (u users) connected(ws *websocket.Conn) {
	id := demo.UserOf(ws.Request())
	if u.conns.Add(id, ws) != nil {
		return
	}
	defer u.conns.Del(id)
	io.Copy(io.Discard, ws) // until the user leaves; reading answers pings
}

func (u users) notify(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		http.Error(w, "at most 64 KiB", http.StatusRequestEntityTooLarge)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	switch err := u.stream.Deliver(ctx, r.PathValue("user"), text); {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, gcpool.ErrNotConnected):
		http.Error(w, err.Error(), http.StatusNotFound)
	default:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}
