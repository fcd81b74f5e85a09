package peers

import (
	"bufio"
	"context"
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// pooled is gcpool with its defaults. Only the newline is off, so that payloads have the
// same length with every peer.
type pooled struct {
	pool    *gcpool.Pool
	conns   *gcpool.ConnPool
	stream  *gcpool.StreamPool
	handler http.Handler
}

// A library returns its own handler, with its upgrader and its read loop, which
// adds each connection to conns.
type library func(conns *gcpool.ConnPool) http.Handler

// with returns the constructor of gcpool with a library.
func with(l library) func() (Peer, error) {
	return func() (Peer, error) {
		pool := gcpool.NewPool(gcpool.WithNewline(false))
		if err := pool.Register("bench"); err != nil {
			return nil, err
		}
		pool.Start()
		conns := pool.GetConn("bench")
		return &pooled{pool, conns, pool.GetStream("bench"), gcpool.Upgrade(l(conns))}, nil
	}
}

// join adds the connection under r, which the library has upgraded.
func join(conns *gcpool.ConnPool, r *http.Request) error {
	return conns.Add(r.FormValue("id"), gcpool.Conn(r))
}

// pooledXnet is the handler of gcpool's README.
func pooledXnet(conns *gcpool.ConnPool) http.Handler {
	return websocket.Handler(func(ws *websocket.Conn) {
		id := ws.Request().FormValue("id")
		if conns.Add(id, ws) != nil {
			return
		}
		defer conns.Del(id)
		scanLines(ws)
	})
}

func (p *pooled) Handler() http.Handler { return p.handler }

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
