// Chat passes messages between users by id. Users send and receive lines of JSON. A message
// that was not delivered comes back to its sender with the reason.
//
//	go run ./examples/recipes/chat
//	go run ./examples/recipes/connect -session demo-alice ws://localhost:8080/ws
//	go run ./examples/recipes/connect -session demo-bob   ws://localhost:8080/ws
//
// Then type as alice: {"to":"bob","text":"hi"}
//
// A page can also post a message, and gets 200, or 503 with the reason:
//
//	curl -i -b session=demo-alice -d '{"to":"bob","text":"hi"}' http://localhost:8080/say
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/recipes/internal/demo"
	"golang.org/x/net/websocket"
)

// A message goes both ways. The server sets From, whatever a user sends.
type message struct {
	From  string `json:"from,omitempty"`
	To    string `json:"to"`
	Text  string `json:"text"`
	Error string `json:"error,omitempty"` // why it was not delivered
}

func main() { demo.Main("chat", serve) }

func serve(ctx context.Context, listener net.Listener) error {
	pool := gcpool.NewPool()
	if err := pool.Register("users"); err != nil {
		return err
	}
	pool.Start()
	c := chat{pool.GetConn("users"), pool.GetStream("users")}
	mux := http.NewServeMux()
	mux.Handle("GET /ws", gcpool.Upgrade(websocket.Server{Handshake: demo.Handshake, Handler: c.connected}))
	mux.Handle("POST /say", http.NewCrossOriginProtection().Handler(http.HandlerFunc(c.say)))
	return demo.Serve(ctx, listener, mux, pool)
}

type chat struct {
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
}

func (c chat) connected(ws *websocket.Conn) {
	id := demo.UserOf(ws.Request())
	if c.conns.Add(id, ws) != nil {
		return
	}
	defer c.conns.Del(id)
	lines := bufio.NewScanner(ws)
	lines.Buffer(nil, 16<<10) // bounds a line that never ends
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			m.Error = "that was not a message"
		} else {
			m.From, m.Error = id, ""
			m.Error = c.send(m.To, m)
		}
		if m.Error != "" {
			c.send(id, m)
		}
	}
}

func (c chat) say(w http.ResponseWriter, r *http.Request) {
	m := message{}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10)).Decode(&m)
	m.From, m.Error = demo.UserOf(r), ""
	if m.From == "" || err != nil {
		http.Error(w, "not signed in, or not a message", http.StatusForbidden)
	} else if why := c.send(m.To, m); why != "" {
		http.Error(w, why, http.StatusServiceUnavailable)
	}
}

// send pushes m to a user. If m was not delivered, send returns the reason. It waits at most 2 s,
// so that a slow user does not delay the sender for longer.
func (c chat) send(to string, m message) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	line, _ := json.Marshal(m) // it cannot fail
	if err := c.stream.Deliver(ctx, to, line); err != nil {
		return err.Error()
	}
	return ""
}
