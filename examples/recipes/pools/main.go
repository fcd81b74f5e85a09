// Pools has two pools in one server, with the same users and different options: messages
// wait for a user who is away for a moment, and new prices replace old ones.
//
//	SERVICE_KEY=secret go run ./examples/recipes/pools
//	go run ./examples/recipes/connect -session demo-alice ws://localhost:8080/ws/messages
//	go run ./examples/recipes/connect -session demo-alice ws://localhost:8080/ws/prices
//	curl -i -H 'Authorization: Bearer secret' -d 'lunch?'  http://localhost:8080/push/messages/alice
//	curl -i -H 'Authorization: Bearer secret' -d 'ACME 41' http://localhost:8080/push/prices/alice
//	curl    -H 'Authorization: Bearer secret' http://localhost:8080/stats
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/recipes/internal/demo"
	"golang.org/x/net/websocket"
)

func main() { demo.Main("pools", serve) }

func serve(ctx context.Context, listener net.Listener) error {
	pool := gcpool.NewPool(gcpool.WithHeartbeat(30 * time.Second)) // for both
	if err := errors.Join(
		pool.Register("messages", gcpool.WithMailbox(time.Minute, 16<<20)),
		pool.Register("prices", gcpool.WithOutbox(64<<10), gcpool.WithOverflow(gcpool.DropOldest)),
	); err != nil {
		return err
	}
	pool.Start()
	s := server{pool}
	mux := http.NewServeMux()
	mux.Handle("GET /ws/{pool}", s.known(gcpool.Upgrade(websocket.Server{Handshake: demo.Handshake, Handler: s.connected})))
	mux.Handle("POST /push/{pool}/{user}", s.known(demo.Services(s.push)))
	mux.HandleFunc("GET /stats", demo.Services(s.stats))
	return demo.Serve(ctx, listener, mux, pool)
}

type server struct{ pool *gcpool.Pool }

// known answers requests for pools that do not exist. Without it, such requests would do no harm:
// the methods of a pool that does not exist return ErrNotRegistered.
func (s server) known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.pool.GetConn(r.PathValue("pool")) == nil {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// connected serves a user's connection in one pool. The same id may have a connection in
// each pool; the pools share nothing.
func (s server) connected(ws *websocket.Conn) {
	conns, id := s.pool.GetConn(ws.Request().PathValue("pool")), demo.UserOf(ws.Request())
	if conns.Add(id, ws) != nil {
		return
	}
	defer conns.Del(id)
	io.Copy(io.Discard, ws) // until the user leaves; reading answers pings
}

// push accepts a message. It does not wait for the outcome, which may take a minute.
func (s server) push(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<10))
	if err != nil {
		http.Error(w, "at most 16 KiB", http.StatusRequestEntityTooLarge)
		return
	}
	text = bytes.ToValidUTF8(text, []byte("?")) // or the browser would hang up
	err = s.pool.GetStream(r.PathValue("pool")).AddContext(r.Context(), r.PathValue("user"), text)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (s server) stats(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(s.pool.Stats())
}
