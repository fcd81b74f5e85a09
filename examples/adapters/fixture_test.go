package adapters

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nulijiabei/gcpool"
)

// servers are the handlers under Upgrade, and the one that cannot be there.
var servers = []struct {
	name  string
	start func(t *testing.T, s *Server) (url string)
}{
	{"gorilla", under(func(s *Server) Handler { return s.Gorilla })},
	{"coder", under(func(s *Server) Handler { return s.Coder })},
	{"gws", under(func(s *Server) Handler { return s.Gws })},
	{"go gws", under(func(s *Server) Handler { return s.GwsGo })},
	{"gobwas", under(func(s *Server) Handler { return s.Gobwas })},
	{"melody", under((*Server).Melody)},
	{"plain", plain},
}

func under(handler func(*Server) Handler) func(*testing.T, *Server) string {
	return func(t *testing.T, s *Server) string {
		web := httptest.NewServer(s.Under(handler(s)))
		t.Cleanup(web.Close)
		return web.URL
	}
}

func plain(t *testing.T, s *Server) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for socket, err := l.Accept(); err == nil; socket, err = l.Accept() {
			go s.Plain(socket)
		}
	}()
	return "http://" + l.Addr().String()
}

const patience = 20 * time.Second // of a test for what should come at once

// A fixture is one pool behind one server.
type fixture struct {
	*testing.T
	pool   *gcpool.Pool
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
	url    string
	codes  bool                    // the client is told why it is closed
	failed chan gcpool.Undelivered // what was not delivered
}

// forEach runs a test for each server at once.
func forEach(t *testing.T, test func(f *fixture), opts ...gcpool.Option) {
	t.Parallel()
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			test(newFixture(t, server.start, server.name != "plain", opts...))
		})
	}
}

func newFixture(t *testing.T, start func(*testing.T, *Server) string, codes bool, opts ...gcpool.Option) *fixture {
	f := &fixture{T: t, codes: codes, failed: make(chan gcpool.Undelivered, 1<<12)}
	f.pool = gcpool.NewPool(gcpool.WithUndelivered(func(u gcpool.Undelivered) { f.failed <- u }))
	if err := f.pool.Register("users", opts...); err != nil {
		t.Fatal(err)
	}
	f.pool.Start()
	f.conns, f.stream = f.pool.GetConn("users"), f.pool.GetStream("users")
	f.url = start(t, &Server{Conns: f.conns, UserOf: cookieUser})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		f.pool.Shutdown(ctx) // of those that do not answer only some tests want to know
	})
	return f
}

// cookieUser stands for the lookup of a session.
func cookieUser(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	id, _ := strings.CutPrefix(cookie.Value, "session-of-")
	return id
}

// dial connects id from a page, and returns the status of the answer.
func (f *fixture) dial(id, page string) (*websocket.Conn, int) {
	f.Helper()
	header := http.Header{"Origin": {page}}
	if id != "" {
		header.Set("Cookie", "session=session-of-"+id)
	}
	ws, answer, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(f.url, "http"), header)
	if answer == nil {
		f.Fatal(err)
	}
	if ws != nil {
		f.Cleanup(func() { ws.Close() })
		ws.SetReadDeadline(time.Now().Add(3 * patience))
	}
	return ws, answer.StatusCode
}

// connect returns a client that is id's connection in the pool.
func (f *fixture) connect(id string) *websocket.Conn {
	f.Helper()
	old := f.present(id)
	ws, status := f.dial(id, f.url)
	if ws == nil {
		f.Fatalf("the handshake was answered with %d", status)
	}
	f.await("the connection in the pool", func() bool { now := f.present(id); return now != nil && now != old })
	return ws
}

// present returns id's connection, nil if there is none.
func (f *fixture) present(id string) (conn net.Conn) {
	f.conns.Get(id, func(c net.Conn) error { conn = c; return nil })
	return conn
}

// await polls until a state is reached that nothing else tells of.
func (f *fixture) await(what string, reached func() bool) {
	f.Helper()
	for end := time.Now().Add(patience); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// wantClose reads to the close frame and compares its code and reason; a plain connection
// always has 1001.
func (f *fixture) wantClose(ws *websocket.Conn, code int, reason string) {
	f.Helper()
	if !f.codes {
		code, reason = websocket.CloseGoingAway, ""
	}
	for {
		_, _, err := ws.ReadMessage()
		if err == nil {
			continue
		}
		if told := (*websocket.CloseError)(nil); !errors.As(err, &told) || told.Code != code || told.Text != reason {
			f.Errorf("closed with %v, want %d %q", err, code, reason)
		}
		return
	}
}
