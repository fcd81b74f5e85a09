package peers

import (
	"bytes"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nulijiabei/gcpool"
)

// The timeouts of gorilla's chat example.
const (
	writeWait  = 10 * time.Second
	pongWait   = 60 * time.Second
	pingPeriod = pongWait * 9 / 10
)

// gorilla is the hub of gorilla's chat example, with a channel and a writePump for each
// connection. Two things differ. Each message has its own frame; the example joins queued
// messages with newlines. If a channel is full, the producer waits; the example drops the
// client.
type gorilla struct {
	hub[*pump]
	upgrader websocket.Upgrader
}

type pump struct {
	conn *websocket.Conn
	send chan []byte
	done chan struct{} // closed when the writePump has ended
}

func newGorilla() (Peer, error) {
	return &gorilla{upgrader: websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}}, nil
}

func (g *gorilla) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := g.upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		id := r.FormValue("id")
		p := &pump{conn, make(chan []byte, queue), make(chan struct{})}
		g.add(id, p)
		go p.write()
		go func() {
			defer g.del(id, p)
			readPump(conn)
		}()
	})
}

func (g *gorilla) Push(user int, payload []byte) error {
	p, ok := g.get(user)
	if !ok {
		return errGone
	}
	return p.push(bytes.Clone(payload))
}

func (g *gorilla) Broadcast(payload []byte) error {
	data := bytes.Clone(payload)
	for _, p := range g.all() {
		if err := p.push(data); err != nil {
			return err
		}
	}
	return nil
}

func (g *gorilla) Close() {
	for _, p := range g.all() {
		_ = p.conn.Close()
	}
}

func (p *pump) push(data []byte) error {
	select {
	case p.send <- data:
		return nil
	case <-p.done:
		return errGone
	}
}

// write is the example's writePump: queued messages leave in one turn.
func (p *pump) write() {
	ticker := time.NewTicker(pingPeriod)
	defer func() {
		ticker.Stop()
		_ = p.conn.Close()
		close(p.done)
	}()
	for {
		select {
		case data := <-p.send:
			_ = p.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if p.frame(data) != nil {
				return
			}
			for range len(p.send) {
				if p.frame(<-p.send) != nil {
					return
				}
			}
		case <-ticker.C:
			_ = p.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if p.conn.WriteMessage(websocket.PingMessage, nil) != nil {
				return
			}
		}
	}
}

func (p *pump) frame(data []byte) error { return p.conn.WriteMessage(websocket.TextMessage, data) }

// readPump is the example's readPump.
func readPump(conn *websocket.Conn) {
	defer conn.Close()
	conn.SetReadLimit(512)
	_ = conn.SetReadDeadline(time.Now().Add(pongWait))
	conn.SetPongHandler(func(string) error { return conn.SetReadDeadline(time.Now().Add(pongWait)) })
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			return
		}
	}
}

// pooledGorilla is the example with the pool in place of the hub and the writePump. Its
// Upgrader sets no buffer sizes, so it takes Upgrade's small buffers.
func pooledGorilla(conns *gcpool.ConnPool) http.Handler {
	var upgrader websocket.Upgrader
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		if join(conns, r) != nil {
			_ = conn.Close()
			return
		}
		go readPump(conn)
	})
}
