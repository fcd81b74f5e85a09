package model

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/fault"
	"github.com/nulijiabei/gcpool/torture/internal/peer"
	"golang.org/x/net/websocket"
)

// kind is the kind of a connection.
type kind int

const (
	raw kind = iota
	plain
	upgraded
)

func (k kind) String() string { return [...]string{"raw", "plain", "upgraded"}[k] }

// A conn is one connection, with what the model knows of it.
type conn struct {
	kind    kind
	pool    string
	id      string
	adder   *adder
	choked  bool     // the peer does not read
	gone    bool     // the peer has closed it, but the library does not know
	hold    bool     // its handler does not end before it is released
	over    bool     // no longer its id's connection
	deleted bool     // its adder, or a goroutine that the adder started, has called Del since
	want    []string // what its peer must have received

	added   net.Conn      // the connection that the pool was given
	server  *fault.Conn   // the connection under added
	client  *fault.Conn   // the peer's end
	release chan struct{} // closed to release the handler
	ready   chan struct{} // closed when Add has returned

	mu  sync.Mutex
	got []string
	err error // how reading ended; nil while it has not
}

// A world is the library, with a server and peers in memory.
type world struct {
	pool     *gcpool.Pool
	listener *fault.Listener
	server   *http.Server
	served   chan struct{}
	hub      *adder

	mu       sync.Mutex
	conns    []*conn
	reports  map[[2]string][]string // by pool and id
	presence map[[2]string][]bool
}

func newWorld() *world {
	w := &world{listener: fault.NewListener(), served: make(chan struct{}),
		reports: make(map[[2]string][]string), presence: make(map[[2]string][]bool)}
	w.pool = gcpool.NewPool(gcpool.WithLogger(slog.New(slog.DiscardHandler)), gcpool.WithHeartbeat(0),
		gcpool.WithOutbox(outboxBytes), gcpool.WithBuffer(bufferSize), gcpool.WithWriteTimeout(timeout),
		gcpool.WithUndelivered(w.undelivered), gcpool.WithPresence(w.came))
	mux := http.NewServeMux()
	mux.Handle("/plain", websocket.Handler(w.hello))
	mux.Handle("/upgraded", gcpool.Upgrade(websocket.Handler(w.hello)))
	w.server = &http.Server{Handler: mux}
	go func() {
		defer close(w.served)
		w.server.Serve(w.listener)
	}()
	w.hub = newAdder()
	return w
}

// close ends everything, whatever state it is in.
func (w *world) close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range w.conns {
		c.free()
		c.client.Close()
	}
	w.pool.Shutdown(ctx)
	w.server.Close()
	<-w.served
	w.hub.end()
	for _, c := range w.conns {
		if c.adder != nil && c.adder != w.hub {
			c.adder.end()
		}
	}
}

// free releases the handler.
func (c *conn) free() {
	c.hold = false
	select {
	case <-c.release:
	default:
		close(c.release)
	}
}

func (w *world) undelivered(u gcpool.Undelivered) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := [2]string{u.Pool, u.ID}
	reason := u.Err
	if errors.Is(reason, gcpool.ErrNotConnected) { // the reported error wraps it with details
		reason = gcpool.ErrNotConnected
	}
	w.reports[k] = append(w.reports[k], string(u.Data)+": "+reason.Error())
}

func (w *world) came(pool, id string, connected bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := [2]string{pool, id}
	w.presence[k] = append(w.presence[k], connected)
}

// connect connects id. Raw connections are added by a handler, or by the hub.
func (w *world) connect(pool, id string, k kind, hold, hub bool) (*conn, error) {
	c := &conn{kind: k, pool: pool, id: id, hold: hold, release: make(chan struct{}), ready: make(chan struct{})}
	w.mu.Lock()
	w.conns = append(w.conns, c)
	n := len(w.conns) - 1
	w.mu.Unlock()
	if k == raw {
		c.server, c.client = fault.Pipe(1 << 20)
		c.added = c.server
		go c.readLines()
		if c.adder = w.hub; !hub {
			c.adder = newAdder()
		}
		var err error
		caller{c.adder, false}.do(func() { err = w.pool.GetConn(pool).Add(id, c.added) })
		return c, err
	}
	c.server, c.client = w.listener.Dial(1 << 20)
	p, err := peer.Dial(c.client, fmt.Sprintf("/%v?id=%s&n=%d", k, url.QueryEscape(id), n))
	if err != nil {
		return nil, err
	}
	go c.readFrames(p)
	<-c.ready
	return c, nil
}

// hello is the original's handler, except that it may end late.
func (w *world) hello(ws *websocket.Conn) {
	var n int
	fmt.Sscan(ws.Request().FormValue("n"), &n)
	w.mu.Lock()
	c := w.conns[n]
	w.mu.Unlock()
	id := ws.Request().FormValue("id")
	c.added, c.adder = ws, new(adder)
	c.adder.start()
	w.pool.GetConn(c.pool).Add(id, ws)
	defer w.pool.GetConn(c.pool).Del(id)
	hold := c.hold
	close(c.ready)
	r := bufio.NewReader(ws)
	for {
		if _, err := r.ReadBytes('\n'); err != nil {
			break
		}
	}
	if hold {
		<-c.release
	}
}

func (c *conn) receive(data string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, data)
}

func (c *conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	c.client.Close()
}

func (c *conn) readFrames(p *peer.Peer) {
	for {
		data, err := p.Next()
		if err != nil {
			c.end(err)
			return
		}
		c.receive(string(data))
	}
}

func (c *conn) readLines() {
	r := bufio.NewReader(c.client)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if line != "" {
				err = fmt.Errorf("%w: %q", io.ErrUnexpectedEOF, line)
			}
			c.end(err)
			return
		}
		c.receive(strings.TrimSuffix(line, "\n"))
	}
}

// received returns what arrived, and how the connection ended.
func (c *conn) received() ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got), c.err
}
