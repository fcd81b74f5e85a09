package promises

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/internal/upgrade"
	"golang.org/x/net/nettest"
	"golang.org/x/net/websocket"
)

func TestUpgradedConnectionIsANetConn(t *testing.T) {
	t.Parallel()
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, nil, err
		}
		defer l.Close()
		if c1, err = net.Dial("tcp", l.Addr().String()); err != nil {
			return nil, nil, nil, err
		}
		if c2, err = l.Accept(); err != nil {
			return nil, nil, nil, err
		}
		return &upgrade.Conn{Conn: c1}, &upgrade.Conn{Conn: c2}, func() { c1.Close(); c2.Close() }, nil
	})
}

// behindMiddleware returns a TLS server, its connections and its stream, with one middleware in
// front of Upgrade and one behind it.
func behindMiddleware(t *testing.T) (*httptest.Server, *gcpool.ConnPool, *gcpool.StreamPool) {
	p, conns, stream := started(t)
	type key struct{}
	mux := http.NewServeMux()
	mux.Handle("/ws", websocket.Server{Handshake: gcpool.SameOrigin, Handler: func(ws *websocket.Conn) {
		if ws.Request().Context().Value(key{}) != "kept" || ws.Request().Context().Value(http.ServerContextKey) == nil {
			t.Error("the context has lost its values")
		}
		verbatim(p, func() {})(ws)
	}})
	mux.HandleFunc("/plain", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	handler := gcpool.Upgrade(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Middleware", "was here")
		if r.FormValue("id") == "nobody" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "kept")))
	}))
	t.Cleanup(srv.Close)
	return srv, conns, stream
}

func TestUpgradeBehindMiddleware(t *testing.T) {
	srv, conns, stream := behindMiddleware(t)
	config, _ := websocket.NewConfig("wss"+strings.TrimPrefix(srv.URL, "https")+"/ws?id=a", srv.URL)
	config.TlsConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig
	ws, err := websocket.DialConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	add(t, stream, "a", "over TLS")
	equal(t, "received", lines(t, bufio.NewReader(ws), 1), []string{"over TLS"})
	config.Origin.Host = "evil.example"
	if _, err := websocket.DialConfig(config); err == nil {
		t.Error("a foreign origin was let in")
	}
}

// TestUpgradeAnswersBehindMiddleware: a request that is no handshake passes through
// Upgrade. If the handler refuses a handshake, its answer is sent.
func TestUpgradeAnswersBehindMiddleware(t *testing.T) {
	srv, _, _ := behindMiddleware(t)
	resp, err := srv.Client().Get(srv.URL + "/plain")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "hello" || resp.Header.Get("X-Middleware") != "was here" {
		t.Errorf("a plain request did not pass through: %q", body)
	}
	for path, status := range map[string]int{"/ws?id=nobody": 401, "/nowhere": 404, "/plain": 200} {
		req, _ := http.NewRequest("GET", srv.URL+path, nil)
		req.Header = http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"WebSocket"},
			"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}, "Origin": {srv.URL}}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status || resp.Header.Get("X-Middleware") != "was here" || !resp.Close {
			t.Errorf("%s: %v, want %d and the middleware's header", path, resp, status)
		}
	}
}

func TestUpgradeKeepsWhatNetHTTPHadRead(t *testing.T) {
	got := make(chan string, 1)
	addr := serve(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		buf := make([]byte, 5)
		io.ReadFull(ws, buf)
		got <- string(buf)
	}))
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nOrigin: http://%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x81\x85\x00\x00\x00\x00early", addr, addr)
	if text := <-got; text != "early" {
		t.Errorf("the handler read %q", text)
	}
}

func TestUpgradeWithoutHijackerAnswers500(t *testing.T) {
	for _, test := range []struct {
		method string
		header http.Header
		status int
	}{
		{http.MethodGet, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}, http.StatusInternalServerError},
		{http.MethodConnect, http.Header{":protocol": {"websocket"}}, http.StatusInternalServerError}, // HTTP/2, RFC 8441
		{http.MethodConnect, nil, http.StatusTeapot},                                                  // any other CONNECT passes
	} {
		req := httptest.NewRequest(test.method, "/", nil)
		req.Header = test.header
		w := httptest.NewRecorder()
		gcpool.Upgrade(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
		})).ServeHTTP(w, req)
		if w.Code != test.status {
			t.Errorf("%s %v: status %d, want %d", test.method, test.header, w.Code, test.status)
		}
	}
}

func TestUpgradeLogsAPanicAndEndsTheContext(t *testing.T) {
	for _, value := range []any{"a bug in the handler", http.ErrAbortHandler} {
		var text syncBuffer
		ended := make(chan struct{})
		srv := httptest.NewUnstartedServer(gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
			context.AfterFunc(ws.Request().Context(), func() { close(ended) })
			panic(value)
		})))
		srv.Config.ErrorLog = log.New(&text, "", 0)
		srv.Start()
		ws := dial(t, srv.Listener.Addr().String(), "")
		if _, err := ws.Read(make([]byte, 1)); err == nil {
			t.Error("the connection is still open")
		}
		<-ended
		srv.Close()
		if got := strings.Contains(text.String(), "panic serving"); got != (value != http.ErrAbortHandler) {
			t.Errorf("panic(%v) logged %q", value, text.String())
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestUpgradeClearsTheServersDeadlines(t *testing.T) {
	t.Parallel()
	const deadline = 5 * time.Second // the handshake takes part of it, more on a busy machine
	p, conns, stream := started(t)
	srv := httptest.NewUnstartedServer(gcpool.Upgrade(verbatim(p, func() {})))
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = deadline, deadline
	srv.Start()
	defer srv.Close()
	ws := dial(t, srv.Listener.Addr().String(), "id=a")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	time.Sleep(deadline + 100*time.Millisecond)
	add(t, stream, "a", "late")
	equal(t, "received", lines(t, bufio.NewReader(ws), 1), []string{"late"})
}

func TestNothingFollowsACutFrame(t *testing.T) {
	const response = "HTTP/1.1 101 Switching Protocols\r\n\r\n"
	for _, test := range []struct {
		writes []string
		taken  int // how many bytes the failing write took
		want   string
	}{
		{[]string{"\x81\x03cut"}, 3, "\x81\x03c"},
		{[]string{"\x81\x06con", "cut"}, 0, "\x81\x06con"},
		{[]string{"\x81\x03cut"}, 0, "\x81\x04next"}, // the peer has seen none of the cut frame
	} {
		f := newFaulty()
		var wrote bytes.Buffer
		f.write = func(p []byte) (int, error) {
			if bytes.Contains(p, []byte("cut")) {
				wrote.Write(p[:test.taken])
				return test.taken, io.ErrClosedPipe
			}
			return wrote.Write(p)
		}
		c := &upgrade.Conn{Conn: f}
		c.Write([]byte(response))
		for _, p := range test.writes {
			c.Write([]byte(p))
		}
		_, err := c.Write([]byte("\x81\x04next"))
		if got := wrote.String(); got != response+test.want || (err == nil) != strings.HasSuffix(got, "next") {
			t.Errorf("%q, of which the last took %d: written %q, then %v", test.writes, test.taken, got, err)
		}
	}
}

// TestUpgradeInsideUpgradeIsOne: a second Upgrade around the same handler does nothing.
func TestUpgradeInsideUpgradeIsOne(t *testing.T) {
	h := gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) { io.Copy(ws, ws) }))
	mux := http.NewServeMux()
	mux.Handle("/", h)
	ws := dial(t, serve(t, gcpool.Upgrade, mux), "")
	ws.Write([]byte("x\n"))
	if l, err := bufio.NewReader(ws).ReadString('\n'); err != nil {
		t.Error(l, err)
	}
}

// A bomb is a connection that panics in Write once it is armed.
type bomb struct {
	net.Conn
	on *atomic.Bool
}

func (b bomb) Write(p []byte) (int, error) {
	if b.on.Load() {
		panic("bomb")
	}
	return b.Conn.Write(p)
}

// TestPanicUnderUpgradeEndsTheConnection: a connection panics in a Write of the handler. No
// lock may stay held, so Shutdown must end.
func TestPanicUnderUpgradeEndsTheConnection(t *testing.T) {
	p, c, _ := started(t)
	m := newMemory()
	in := make(chan bool, 1)
	on := new(atomic.Bool)
	srv := &http.Server{Handler: gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
		c.Add("a", ws)
		on.Store(true)
		defer func() { recover(); in <- true; c.Del("a") }()
		ws.Write([]byte("x"))
	}))}
	go srv.Serve(m)
	defer srv.Close()
	a, b := net.Pipe()
	m.conns <- bomb{b, on}
	config, _ := websocket.NewConfig("ws://memory/", "http://memory")
	ws, err := websocket.NewClient(config, a)
	if err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, ws)
	<-in
	if err := shutdown(p, 20*time.Second); err != nil {
		t.Error(err)
	}
}

// TestUpgradeKeepsTheServersValues: the handler still finds net/http's own values after
// net/http has ended the request's context.
func TestUpgradeKeepsTheServersValues(t *testing.T) {
	type found struct {
		server *http.Server
		addr   net.Addr
	}
	values := make(chan found, 1)
	srv := httptest.NewServer(gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
		ctx := ws.Request().Context()
		var f found
		f.server, _ = ctx.Value(http.ServerContextKey).(*http.Server)
		f.addr, _ = ctx.Value(http.LocalAddrContextKey).(net.Addr)
		values <- f
	})))
	defer srv.Close()
	ws, err := websocket.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), "", srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if f := <-values; f.server != srv.Config || f.addr == nil || f.addr.String() != srv.Listener.Addr().String() {
		t.Errorf("found %v and %v", f.server == srv.Config, f.addr)
	}
}
