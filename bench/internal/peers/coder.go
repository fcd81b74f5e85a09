package peers

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/nulijiabei/gcpool"
)

// coder is coder/websocket as in its chat example: a channel and a goroutine for each
// connection, and a timeout for each write. If the channel is full, the producer waits;
// the example closes the connection.
type coder struct{ hub[*subscriber] }

type subscriber struct {
	conn *websocket.Conn
	msgs chan []byte
	done <-chan struct{} // closed when the connection has ended
}

func newCoder() (Peer, error) { return new(coder), nil }

func (c *coder) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		ctx := conn.CloseRead(context.Background())
		id := r.FormValue("id")
		s := &subscriber{conn, make(chan []byte, queue), ctx.Done()}
		c.add(id, s)
		defer c.del(id, s)
		for {
			select {
			case data := <-s.msgs:
				if writeTimeout(ctx, 5*time.Second, conn, data) != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
}

func writeTimeout(ctx context.Context, d time.Duration, conn *websocket.Conn, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, data)
}

func (c *coder) Push(user int, payload []byte) error {
	s, ok := c.get(user)
	if !ok {
		return errGone
	}
	return s.push(bytes.Clone(payload))
}

func (c *coder) Broadcast(payload []byte) error {
	data := bytes.Clone(payload)
	for _, s := range c.all() {
		if err := s.push(data); err != nil {
			return err
		}
	}
	return nil
}

func (c *coder) Close() {
	for _, s := range c.all() {
		_ = s.conn.CloseNow()
	}
}

func (s *subscriber) push(data []byte) error {
	select {
	case s.msgs <- data:
		return nil
	case <-s.done:
		return errGone
	}
}

// pooledCoder runs the read loop in the handler, which has nothing to send.
func pooledCoder(conns *gcpool.ConnPool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for err = join(conns, r); err == nil; {
			_, _, err = conn.Read(context.Background())
		}
	})
}
