// Package before is a chat with the hub that gorilla/websocket's chat example made popular, with
// the same structure and the same limits.
package before

import (
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// begin hub

// A Hub has the clients of a chat and sends each message to all of them.
type Hub struct {
	clients              map[*Client]bool
	register, unregister chan *Client
	broadcast            chan []byte
}

// A Client is one connection, with the messages that wait for it.
type Client struct {
	hub  *Hub
	conn *websocket.Conn
	send chan []byte
}

// NewHub returns a hub that is running.
func NewHub() *Hub {
	h := &Hub{make(map[*Client]bool), make(chan *Client), make(chan *Client), make(chan []byte)}
	go h.run()
	return h
}

func (h *Hub) run() {
	for {
		select {
		case c := <-h.register:
			h.clients[c] = true
		case c := <-h.unregister:
			h.drop(c)
		case message := <-h.broadcast:
			for c := range h.clients {
				select {
				case c.send <- message:
				default: // 256 messages wait: too slow
					h.drop(c)
				}
			}
		}
	}
}

func (h *Hub) drop(c *Client) {
	if h.clients[c] {
		delete(h.clients, c)
		close(c.send)
	}
}

func (c *Client) readPump() {
	defer func() { c.hub.unregister <- c; c.conn.Close() }()
	alive := func(string) error { return c.conn.SetReadDeadline(time.Now().Add(60 * time.Second)) }
	c.conn.SetReadLimit(512)
	c.conn.SetPongHandler(alive)
	alive("")
	for {
		_, message, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		c.hub.broadcast <- message
	}
}

func (c *Client) writePump() {
	ticker := time.NewTicker(54 * time.Second)
	defer func() { ticker.Stop(); c.conn.Close() }()
	for {
		kind, message := websocket.TextMessage, []byte(nil)
		select {
		case m, ok := <-c.send:
			if message = m; !ok {
				kind = websocket.CloseMessage
			}
		case <-ticker.C:
			kind = websocket.PingMessage
		}
		c.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if c.conn.WriteMessage(kind, message) != nil || kind == websocket.CloseMessage {
			return
		}
	}
}

var upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}

func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has sent the error
	}
	c := &Client{hub: h, conn: conn, send: make(chan []byte, 256)}
	h.register <- c
	go c.writePump()
	go c.readPump()
}

// end hub
