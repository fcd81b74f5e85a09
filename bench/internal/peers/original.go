package peers

import (
	"bufio"
	"bytes"
	"net/http"

	"golang.org/x/net/websocket"
)

// original is the design of the original gcpool, rewritten: a channel of ids and payloads,
// and one goroutine that writes each payload to its connection. It does not log every
// message, as the original does.
type original struct {
	hub[*websocket.Conn]
	stream chan addressed
}

type addressed struct {
	user int
	data []byte
}

func newOriginal() (Peer, error) {
	o := &original{stream: make(chan addressed, 1000)}
	go o.drain()
	return o, nil
}

func (o *original) drain() {
	for m := range o.stream {
		if ws, ok := o.get(m.user); ok {
			if _, err := ws.Write(m.data); err != nil {
				o.del(ids[m.user], ws)
			}
		}
	}
}

func (o *original) Handler() http.Handler { return serveXnet(&o.hub) }

func (o *original) Push(user int, payload []byte) error {
	o.stream <- addressed{user, bytes.Clone(payload)}
	return nil
}

func (o *original) Broadcast(payload []byte) error {
	data := bytes.Clone(payload)
	for user := range o.Len() {
		o.stream <- addressed{user, data}
	}
	return nil
}

func (o *original) Close() {
	for _, ws := range o.all() {
		_ = ws.Close()
	}
}

// serveXnet registers each x/net connection while its read loop runs.
func serveXnet(h *hub[*websocket.Conn]) http.Handler {
	return websocket.Handler(func(ws *websocket.Conn) {
		id := ws.Request().FormValue("id")
		h.add(id, ws)
		defer h.del(id, ws)
		readLines(ws)
	})
}

// readLines is the read loop of the original's README. It ends with the connection.
func readLines(ws *websocket.Conn) {
	r := bufio.NewReader(ws)
	for {
		if _, err := r.ReadBytes('\n'); err != nil {
			return
		}
	}
}
