package closing

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
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
	server *httptest.Server
	ready  chan struct{} // told once by each session, when it may be ended
}

func newSite(t *testing.T, c *closure) *site {
	t.Helper()
	s := &site{c: c, pool: gcpool.NewPool(), ready: make(chan struct{}, 1000)}
	s.pool.Register("users", gcpool.WithNewline(false))
	s.pool.Start()
	s.conns, s.stream = s.pool.GetConn("users"), s.pool.GetStream("users")
	h := c.library.serve(s)
	if !c.library.plain {
		h = gcpool.Upgrade(h)
	}
	s.server = httptest.NewUnstartedServer(h)
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if c.tls {
		s.server.StartTLS()
	} else {
		s.server.Start()
	}
	return s
}

// url is what the clients add their ids to.
func (s *site) url() string { return strings.Replace(s.server.URL, "http", "ws", 1) + "/" }

func (s *site) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.pool.Shutdown(ctx)
	s.server.Close()
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

// tell has each of n clients do something.
func (s *site) tell(n int, what string) {
	each(n, func(id string) { s.stream.Add(id, []byte(what)) })
}

// each calls f with the ids of n clients.
func each(n int, f func(id string)) {
	for i := range n {
		f(strconv.Itoa(i))
	}
}

// A session is one connection of a site's.
type session struct {
	*site
	id    string
	heard atomic.Bool
}

func (s *site) session(r *http.Request) *session { return &session{site: s, id: path.Base(r.URL.Path)} }

func (p *session) add(conn net.Conn) {
	if p.conns.Add(p.id, conn) == nil && !p.c.sends {
		p.ready <- struct{}{}
	}
}

// received takes a message of the client's, and reports whether it asks the handler to
// return.
func (p *session) received(message []byte) (returns bool) {
	if p.c.sends && !p.heard.Swap(true) {
		p.ready <- struct{}{}
	}
	return string(message) == "return"
}

// leave is what the handler has deferred.
func (p *session) leave(end func() error) {
	for _, step := range p.c.shape {
		if step == "Del" {
			p.conns.Del(p.id)
		} else {
			end()
		}
	}
}
