package peers

import (
	"bufio"
	"context"
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// upgrade is what makes gcpool fast: frames go out many at once.
var upgrade = gcpool.Upgrade

// pooled is gcpool with its defaults. Only the newline is off, so that its
// payloads are as long as the others'.
type pooled struct {
	pool   *gcpool.Pool
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
}

func newGcpool() (Peer, error) {
	pool := gcpool.NewPool(gcpool.WithNewline(false))
	if err := pool.Register("bench"); err != nil {
		return nil, err
	}
	pool.Start()
	return &pooled{pool, pool.GetConn("bench"), pool.GetStream("bench")}, nil
}

func (p *pooled) Handler() http.Handler {
	return upgrade(websocket.Handler(func(ws *websocket.Conn) {
		id := ws.Request().FormValue("id")
		if p.conns.Add(id, ws) != nil {
			return
		}
		defer p.conns.Del(id)
		scanLines(ws)
	}))
}

func (p *pooled) Push(user int, payload []byte) error { return p.stream.Add(ids[user], payload) }
func (p *pooled) Broadcast(payload []byte) error      { return p.stream.Broadcast(payload) }
func (p *pooled) Len() int                            { return p.conns.Len() }

func (p *pooled) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = p.pool.Shutdown(ctx)
}

// scanLines is the read loop of gcpool's README, until the connection ends.
func scanLines(ws *websocket.Conn) {
	lines := bufio.NewScanner(ws)
	lines.Buffer(make([]byte, 512), 64<<10)
	for lines.Scan() {
	}
}
