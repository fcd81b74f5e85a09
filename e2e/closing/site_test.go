package closing

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// patience is how long a test waits for anything: a machine may be slow and busy.
const patience = 45 * time.Second

// A site is a server with a pool, for the connections of one case.
type site struct {
	c      *closure
	pool   *gcpool.Pool
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
	addr   string
	stop   func()        // stops the server
	ready  chan struct{} // each session sends once, when it may be ended
}

func newSite(t *testing.T, c *closure) *site {
	t.Helper()
	s := &site{c: c, pool: gcpool.NewPool(), ready: make(chan struct{}, 1000)}
	s.pool.Register("users", gcpool.WithNewline(false))
	s.pool.Start()
	s.conns, s.stream = s.pool.GetConn("users"), s.pool.GetStream("users")
	l := listen(t, c.tls)
	s.addr = l.Addr().String()
	if c.library.accept != nil {
		s.stop = func() { l.Close() }
		go accept(l, func(_ int, conn net.Conn) { c.library.accept(s, conn) })
		return s
	}
	h := c.library.serve(s)
	if !c.library.plain {
		h = gcpool.Upgrade(h)
	}
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	s.stop = func() { server.Close() }
	go server.Serve(l)
	return s
}

// listen listens, for TLS with a self-signed certificate.
func listen(t *testing.T, secure bool) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if secure {
		l = tls.NewListener(l, certificate())
	}
	return l
}

var certificate = sync.OnceValue(func() *tls.Config {
	server := httptest.NewTLSServer(nil)
	server.Close()
	return server.TLS
})

// accept calls serve with each connection and its number.
func accept(l net.Listener, serve func(i int, conn net.Conn)) {
	for i := 0; ; i++ {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go serve(i, conn)
	}
}

// url returns the URL to which the clients add their ids.
func (s *site) url() string {
	if s.c.tls {
		return "wss://" + s.addr + "/"
	}
	return "ws://" + s.addr + "/"
}

func (s *site) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.pool.Shutdown(ctx)
	s.stop()
}

// await waits until n sessions are ready.
func (s *site) await(t *testing.T, n int) {
	t.Helper()
	late := time.After(patience)
	for i := range n {
		select {
		case <-s.ready:
		case <-late:
			t.Fatalf("%d of %d clients came within %v", i, n, patience)
		}
	}
}

// tell makes each of n clients do something.
func (s *site) tell(n int, what string) {
	each(n, func(id string) { s.stream.Add(id, []byte(what)) })
}

// each calls f with the ids of n clients.
func each(n int, f func(id string)) {
	for i := range n {
		f(strconv.Itoa(i))
	}
}

// A session is one connection of a site.
type session struct {
	*site
	id    string
	heard atomic.Bool
}

func (s *site) session(url string) *session { return &session{site: s, id: path.Base(url)} }

func (p *session) add(conn net.Conn) {
	if p.conns.Add(p.id, conn) == nil && !p.c.sends {
		p.ready <- struct{}{}
	}
}

// received takes a message from the client, and reports whether it asks the handler to return.
func (p *session) received(message []byte) (returns bool) {
	if p.c.sends && !p.heard.Swap(true) {
		p.ready <- struct{}{}
	}
	return string(message) == "return"
}

// leave runs what the handler has deferred.
func (p *session) leave(end func() error) {
	for _, step := range p.c.shape {
		if step == "Del" {
			p.conns.Del(p.id)
		} else {
			end()
		}
	}
}
