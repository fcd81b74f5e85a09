package libraries

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// manners say what a handler does at its end.
type manners struct {
	name         string
	dels, closes bool
}

var everyManners = []manners{
	{"defer Del", true, false},
	{"defer Close", false, true},
	{"both", true, true},
	{"neither", false, false},
}

// A host is a server with one pool and one library.
type host struct {
	t       *testing.T
	lib     library
	manners manners
	pool    *gcpool.Pool
	conns   *gcpool.ConnPool
	stream  *gcpool.StreamPool
	addr    string
	joined  chan *visit

	mu  sync.Mutex
	all []*visit // guarded by mu

	// received, if not nil, is called with each message from a client, on the client's read
	// loop; it must be set before the first client connects.
	received func(v *visit, p []byte)
	// leave, if not nil, is called when a handler has ended, before it removes anything.
	leave func(v *visit)
}

// A visit is one connection as its handler knows it.
type visit struct {
	id     string
	socket socket
	ended  chan struct{}
}

// bye is the message that makes a handler end.
const bye = "bye"

func newHost(t *testing.T, lib library, opts ...gcpool.Option) *host {
	t.Helper()
	h := &host{t: t, lib: lib, manners: everyManners[0], pool: gcpool.NewPool(), joined: make(chan *visit, 1000)}
	opts = append([]gcpool.Option{gcpool.WithNewline(false), gcpool.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
	if err := h.pool.Register("p", opts...); err != nil {
		t.Fatal(err)
	}
	h.pool.Start()
	h.conns, h.stream = h.pool.GetConn("p"), h.pool.GetStream("p")
	stop := h.listen()
	t.Cleanup(func() {
		h.forget()
		h.shutdown()
		stop()
	})
	return h
}

// listen starts the server, and returns a function that stops it.
func (h *host) listen() (stop func()) {
	if h.lib.accept == nil {
		srv := httptest.NewServer(gcpool.Upgrade(h.lib.handler(h)))
		h.addr = strings.TrimPrefix(srv.URL, "http://")
		return srv.Close
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.addr = l.Addr().String()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go h.lib.accept(h, conn)
		}
	}()
	return func() { l.Close() }
}

// forget closes the connections that handlers have left open, so that Shutdown need not wait
// for clients that have gone.
func (h *host) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range h.all {
		v.socket.conn().Close()
	}
}

// shutdown calls Pool.Shutdown; a second call does nothing.
func (h *host) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return h.pool.Shutdown(ctx)
}

// shutdownLater starts a Shutdown, which waits for the clients to leave.
func (h *host) shutdownLater() <-chan error {
	over := make(chan error, 1)
	go func() { over <- h.shutdown() }()
	return over
}

// join adds a connection, which is the first thing a handler does.
func (h *host) join(s socket, r *http.Request) *visit {
	v := &visit{id: r.FormValue("id"), socket: s, ended: make(chan struct{})}
	if err := h.conns.Add(v.id, s.conn()); err != nil {
		h.t.Errorf("Add(%q): %v", v.id, err)
	}
	h.mu.Lock()
	h.all = append(h.all, v)
	h.mu.Unlock()
	h.joined <- v
	return v
}

// serve is the rest of a handler.
func (h *host) serve(v *visit) {
	defer h.end(v)
	v.socket.read(func(p []byte) bool { return h.receive(v, p) })
}

func (h *host) receive(v *visit, p []byte) bool {
	if h.received != nil {
		h.received(v, p)
	}
	return string(p) != bye
}

// end is what a handler defers.
func (h *host) end(v *visit) {
	defer close(v.ended)
	if h.leave != nil {
		h.leave(v)
	}
	if h.manners.dels {
		h.conns.Del(v.id)
	}
	if h.manners.closes {
		v.socket.close()
	}
}

// connect returns a client that is connected as id, with its visit.
func (h *host) connect(id string) (*client, *visit) {
	h.t.Helper()
	return h.connectVia(h.addr, id)
}

func (h *host) connectVia(addr, id string) (*client, *visit) {
	h.t.Helper()
	c := dial(h.t, addr, id, h.lib.offer, nil)
	return c, h.next()
}

// next returns the next visit that has joined.
func (h *host) next() *visit {
	h.t.Helper()
	select {
	case v := <-h.joined:
		return v
	case <-time.After(patience):
		h.t.Fatal("no handler has added its connection")
		return nil
	}
}

// push is StreamPool.Add.
func (h *host) push(id, text string) {
	if err := h.stream.Add(id, []byte(text)); err != nil {
		h.t.Errorf("Add(%q): %v", id, err)
	}
}

// deliver is StreamPool.Deliver.
func (h *host) deliver(id, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return h.stream.Deliver(ctx, id, []byte(text))
}
