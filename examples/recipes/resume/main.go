// Resume loses no message, whatever happens to connections: it stores each message first,
// numbered for its user, and then pushes it. The client, client.js, acknowledges the messages
// that it has. When it connects, and when a number is missing, it asks for the messages that
// it lacks.
//
//	SERVICE_KEY=secret go run ./examples/recipes/resume
//	curl -i -H 'Authorization: Bearer secret' -d 'your order has shipped' http://localhost:8080/push/alice
//
// Then open http://localhost:8080/?demo-alice: the page shows the message. Reload it, stop the
// network, push more. The server answers {"n":1} once the message is stored.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/recipes/internal/demo"
	"golang.org/x/net/websocket"
)

//go:embed client.js
var client string

const page = `<!doctype html><title>resume</title><ol id="messages"></ol><script>
"use strict";
document.cookie = "session=" + location.search.slice(1); // your sign-in does that
%s
resume(text => { messages.append(Object.assign(document.createElement("li"), { textContent: text })); });
</script>`

func main() { demo.Main("resume", serve) }

func serve(ctx context.Context, listener net.Listener) error {
	pool := gcpool.NewPool(gcpool.WithNewline(false))
	if err := pool.Register("users"); err != nil {
		return err
	}
	pool.Start()
	s := server{pool.GetConn("users"), pool.GetStream("users"), &store{users: make(map[string]*unread)}}
	mux := http.NewServeMux()
	mux.Handle("GET /ws", gcpool.Upgrade(websocket.Server{Handshake: demo.Handshake, Handler: s.connected}))
	mux.HandleFunc("POST /push/{user}", demo.Services(s.push))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, page, client) })
	return demo.Serve(ctx, listener, mux, pool)
}

type server struct {
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
	store  *store
}

// push stores a message, and pushes it if the user is connected. If the connection breaks, the
// client asks for the missing messages when it comes back.
func (s server) push(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<10))
	if err != nil {
		http.Error(w, "at most 16 KiB", http.StatusRequestEntityTooLarge)
		return
	}
	m, ok := s.store.add(r.PathValue("user"), string(text))
	if !ok {
		http.Error(w, "too many messages are waiting for this user", http.StatusInsufficientStorage)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if s.stream.AddContext(ctx, r.PathValue("user"), line(m)) != nil {
		// The user reads slowly, and nothing else would show the client that a message is missing.
		s.conns.Kick(r.PathValue("user"), 4000, "come back, and ask")
	}
	w.WriteHeader(http.StatusAccepted)
	w.Write(append(line(map[string]int{"n": m.N}), '\n'))
}

// connected reads {"ack":7}, which says that the client has all messages up to 7, and
// {"after":7,"log":"A"}, which asks for all messages after 7. The answer to the second is
// {"after":7,"from":7,"log":"A"}, followed by these messages.
func (s server) connected(ws *websocket.Conn) {
	id := demo.UserOf(ws.Request())
	ws.MaxPayloadBytes = 1 << 10
	if s.conns.Add(id, ws) != nil {
		return
	}
	defer s.conns.Del(id)
	for {
		var m struct {
			Ack, After *int
			Log        string
		}
		if websocket.JSON.Receive(ws, &m) != nil {
			return
		}
		if m.Ack != nil {
			s.store.ack(id, *m.Ack)
		}
		if m.After != nil { // in this order: after also returns each message pushed before "from"
			log, from := s.store.start(id, m.Log, *m.After)
			s.stream.Add(id, line(map[string]any{"after": *m.After, "from": from, "log": log}))
			for _, m := range s.store.after(id, from) {
				s.stream.Add(id, line(m))
			}
		}
	}
}

func line(v any) []byte {
	data, _ := json.Marshal(v) // it cannot fail
	return data
}
