// Package kept is the chat of package before, with gorilla/websocket and without the hub.
package kept

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nulijiabei/gcpool"
)

// begin chat

// A Chat sends each message to everybody in it.
type Chat struct{ pool *gcpool.Pool }

// NewChat returns a chat that is running.
func NewChat() (*Chat, error) {
	c := &Chat{gcpool.NewPool(
		gcpool.WithNewline(false),               // frames as the hub sent them
		gcpool.WithOutbox(64<<10),               // was make(chan []byte, 256)
		gcpool.WithWriteTimeout(10*time.Second), // was the write deadline
		gcpool.WithHeartbeat(30*time.Second),    // silent for twice that: was 60 s
	)}
	if err := c.pool.Register("chat"); err != nil {
		return nil, err
	}
	c.pool.Start()
	return c, nil
}

// Handler serves the chat's WebSockets.
func (c *Chat) Handler() http.Handler { return gcpool.Upgrade(http.HandlerFunc(c.serve)) }

var upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}

func (c *Chat) serve(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has sent the error
	}
	defer conn.Close()
	id := rand.Text() // nobody pushes to a single user here; otherwise take the id from the session
	if c.pool.GetConn("chat").Add(id, gcpool.Conn(r)) != nil {
		return
	}
	defer c.pool.GetConn("chat").Del(id)
	conn.SetReadLimit(512)
	for { // was readPump
		_, message, err := conn.ReadMessage()
		if err != nil || c.say(message) != nil {
			return
		}
	}
}

// say sends a message to everybody. It waits at most 100 ms for clients that read slowly; those that
// are still behind then miss the message. Without a deadline one of them would hold up all others.
func (c *Chat) say(message []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	message = bytes.ToValidUTF8(message, []byte("?")) // or every browser would hang up
	err := c.pool.GetStream("chat").BroadcastContext(ctx, message)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// end chat

// Stop delivers the accepted messages and closes all connections, until ctx ends. The hub had no
// shutdown.
func (c *Chat) Stop(ctx context.Context) error { return c.pool.Shutdown(ctx) }
