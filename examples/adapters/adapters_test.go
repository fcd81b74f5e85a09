package adapters

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
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

// sizes are those around which a frame's header changes, and one that would be cut in
// pieces on a byte stream.
var sizes = []int{0, 1, 124, 125, 126, 1000, 65535, 65536, 100 << 10}

// payload is that of push i; larger ones carry their number.
func payload(i int) []byte {
	size := sizes[0]
	if i%20 < len(sizes) {
		size = sizes[i%20]
	}
	p := fmt.Appendf(nil, "push %d ", i)
	return bytes.Repeat(p, size/len(p)+1)[:size]
}

// TestPushesPassBetweenTheLibrarysMessages: pushes, what the library sends back, and its
// pongs arrive whole, each kind in its order. A pong may stand for the pings before its own
// (RFC 6455 section 5.5.3).
func TestPushesPassBetweenTheLibrarysMessages(t *testing.T) {
	const pushes, own = 1000, 200
	forEach(t, func(f *fixture) {
		alice := f.connect("alice")
		answered := -1
		alice.SetPongHandler(func(data string) error {
			ping, err := strconv.Atoi(data)
			if err != nil || ping <= answered {
				f.Errorf("pong %q after %d", data, answered)
			}
			answered = ping
			return nil
		})
		go func() {
			for i := range pushes {
				if err := f.stream.Add("alice", payload(i)); err != nil {
					f.Errorf("push %d: %v", i, err)
				}
			}
		}()
		go func() {
			for i := range own {
				alice.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "its own %d", i))
				alice.WriteControl(websocket.PingMessage, fmt.Append(nil, i), time.Now().Add(patience))
			}
			alice.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "its own %d", own)) // behind the last pong
		}()
		for push, back := 0, 0; push < pushes || back <= own; {
			kind, message, err := alice.ReadMessage()
			switch {
			case err != nil:
				f.Fatalf("after %d pushes and %d others: %v", push, back, err)
			case kind != websocket.TextMessage:
				f.Fatalf("a message of kind %d", kind)
			case bytes.Equal(message, append(payload(push), '\n')):
				push++
			case string(message) == fmt.Sprintf("its own %d", back):
				back++
			default:
				f.Fatalf("after %d pushes and %d others: %d bytes, %.20q", push, back, len(message), message)
			}
		}
		if answered != own-1 {
			f.Errorf("the last pong was for ping %d of %d", answered, own)
		}
	}, gcpool.WithOutbox(64<<20), gcpool.WithWriteTimeout(time.Minute)) // however busy the machine is
}

func TestTakeoverClosesTheOldOneAndItsHandlerLeavesTheNewOneAlone(t *testing.T) {
	forEach(t, func(f *fixture) {
		first := f.connect("alice")
		second := f.connect("alice")
		f.wantClose(first, 4500, "")
		ctx, cancel := context.WithTimeout(f.Context(), patience)
		defer cancel()
		for i := range 100 { // the first one's handler may end at any of them
			if err := f.stream.Deliver(ctx, "alice", payload(5)); err != nil {
				f.Fatalf("push %d after the takeover: %v", i, err)
			}
			if _, _, err := second.ReadMessage(); err != nil {
				f.Fatal(err)
			}
		}
	})
}

func TestKickTellsItsCodeAndReason(t *testing.T) {
	forEach(t, func(f *fixture) {
		alice := f.connect("alice")
		if n, err := f.conns.Kick("alice", 4403, "signed out"); n != 1 || err != nil {
			f.Errorf("Kick: %d, %v", n, err)
		}
		f.wantClose(alice, 4403, "signed out")
	})
}

func TestShutdownDeliversAndSaysGoodbye(t *testing.T) {
	forEach(t, func(f *fixture) {
		alice := f.connect("alice")
		for i := range 10 {
			f.stream.Add("alice", payload(i))
		}
		ended := make(chan error, 1)
		go func() { ended <- f.pool.Shutdown(f.Context()) }()
		for i := range 10 {
			if _, message, err := alice.ReadMessage(); err != nil || len(message) != len(payload(i))+1 {
				f.Fatalf("push %d: %d bytes, %v", i, len(message), err)
			}
		}
		f.wantClose(alice, websocket.CloseGoingAway, "")
		alice.Close()
		if err := <-ended; err != nil {
			f.Errorf("Shutdown: %v", err)
		}
	})
}

func TestEndOfTheHandlerRemovesItsConnection(t *testing.T) {
	for name, end := range map[string]func(*websocket.Conn){
		"goodbye": func(ws *websocket.Conn) {
			ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
			io.Copy(io.Discard, ws.NetConn())
		},
		"cut":      func(ws *websocket.Conn) { ws.Close() },
		"too long": func(ws *websocket.Conn) { ws.WriteMessage(websocket.TextMessage, make([]byte, messageMax+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			forEach(t, func(f *fixture) {
				end(f.connect("alice"))
				f.await("the end", func() bool { return f.conns.Len() == 0 })
				err := f.stream.Deliver(f.Context(), "alice", []byte("hello"))
				if !errors.Is(err, gcpool.ErrNotConnected) {
					f.Errorf("a push afterwards: %v", err)
				}
			})
		})
	}
}

func TestOnlyUsersFromPagesAreLetIn(t *testing.T) {
	forEach(t, func(f *fixture) {
		for _, c := range []struct {
			id, page string
			want     int
		}{
			{"alice", f.url, 101}, {"alice", "https://app.example.com", 101}, {"", f.url, 403},
			{"alice", "https://evil.example", 403}, {"alice", "null", 403},
		} {
			if _, status := f.dial(c.id, c.page); status != c.want {
				f.Errorf("%q from %s: status %d, want %d", c.id, c.page, status, c.want)
			}
		}
	})
}

// TestHandlersHaveTenLines at most, between the braces of what knows the pool.
func TestHandlersHaveTenLines(t *testing.T) {
	names := []string{"Gorilla", "Coder", "Gws", "GwsGo", "Gobwas", "Melody", "readGws"}
	lines := bodies(t, names)
	if len(lines) != len(names) {
		t.Errorf("found %v", lines)
	}
	lines["Gws"] += lines["readGws"]
	lines["GwsGo"] += lines["readGws"]
	for name, n := range lines {
		if n > 10 {
			t.Errorf("%s has %d lines", name, n)
		}
	}
}
