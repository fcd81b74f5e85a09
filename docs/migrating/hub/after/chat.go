// Package after is the chat of package before, on gcpool.
package after

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
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
func (c *Chat) Handler() http.Handler {
	return gcpool.Upgrade(websocket.Server{Handshake: gcpool.SameOrigin, Handler: c.serve})
}

func (c *Chat) serve(ws *websocket.Conn) {
	id := rand.Text() // nobody pushes to a single user here; otherwise take the id from the session
	if c.pool.GetConn("chat").Add(id, ws) != nil {
		return
	}
	defer c.pool.GetConn("chat").Del(id)
	ws.MaxPayloadBytes = 512 // was SetReadLimit
	for {
		var message []byte
		if websocket.Message.Receive(ws, &message) != nil {
			return
		}
		if c.say(message) != nil {
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

// Stop delivers the accepted messages and closes all connections, until ctx ends. The hub had no
// shutdown.
func (c *Chat) Stop(ctx context.Context) error { return c.pool.Shutdown(ctx) }

// end chat
