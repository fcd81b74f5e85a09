// Notify pushes messages from another service to a user: the order service says that an
// order has shipped, and the user's page shows it.
//
//	SERVICE_KEY=secret go run ./examples/recipes/notify
//	go run ./examples/recipes/connect -session demo-alice ws://localhost:8080/ws
//	curl -i -H 'Authorization: Bearer secret' -d 'your order has shipped' http://localhost:8080/notify/alice
//	curl -i -H 'Authorization: Bearer secret' -d 'are you there?' http://localhost:8080/notify/bob
//
// The answer is 202 with the outcome, such as {"outcome":"delivered"}:
//
//	delivered      the system took every byte; they are lost if the connection breaks before
//	               they arrive (the recipe resume sends them again)
//	kept           the user is away, and gets the message on connecting within -keep, unless
//	               this process ends first (AddFunc reports when it was written)
//	not connected  the user is away, and -keep is 0; or the connection broke
//	unknown        the user reads too slowly for an outcome within 2 s, and may still get the
//	               message
//	busy           so much waits for the user that the message was not accepted within 2 s
//
// It is 404 if there is no such user, and 503 with the reason otherwise, for example if the server
// is about to stop.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/recipes/internal/demo"
	"golang.org/x/net/websocket"
)

var keep = flag.Duration("keep", time.Minute, "how long messages wait for a user who is away; 0 is off")

func main() { demo.Main("notify", serve) }

func serve(ctx context.Context, listener net.Listener) error {
	pool := gcpool.NewPool(
		gcpool.WithNewline(false), // a frame holds the text, nothing else
		gcpool.WithMailbox(*keep, 16<<20),
		gcpool.WithUndelivered(func(u gcpool.Undelivered) { // kept, and not fetched in time
			fmt.Printf("notify: %q did not get %q: %v\n", u.ID, u.Data, u.Err)
		}))
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
	user := r.PathValue("user")
	if !demo.Exists(user) { // the pool would keep messages for any id
		http.Error(w, "no such user", http.StatusNotFound)
		return
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		http.Error(w, "at most 64 KiB", http.StatusRequestEntityTooLarge)
		return
	}
	text = bytes.ToValidUTF8(text, []byte("?")) // or the browser would hang up
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	err = u.stream.Deliver(ctx, user, text)
	outcome := "delivered"
	switch {
	case errors.Is(err, gcpool.ErrKept):
		outcome = "kept"
	case errors.Is(err, gcpool.ErrNotConnected), errors.Is(err, gcpool.ErrDeleted):
		outcome = "not connected"
	case errors.Is(err, gcpool.ErrNotAccepted):
		outcome = "busy"
	case errors.Is(err, context.DeadlineExceeded): // with several nodes, cluster.ErrUncertain too
		outcome = "unknown"
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	json.NewEncoder(w).Encode(map[string]string{"outcome": outcome})
}
