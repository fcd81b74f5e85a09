package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// A client is a browser's side of a WebSocket. It keeps every byte that comes,
// for x/net does not tell with which status a connection was closed.
type client struct {
	t     *testing.T
	ws    *websocket.Conn
	lines *bufio.Scanner
	raw   *recorder
	once  sync.Once
}

// received is any line that a browser gets.
type received struct {
	Kind, Name, From, To, Text, Error string
	Names                             []string
	At, Ref                           int64
}

func startServer(t *testing.T) string {
	t.Helper()
	_, url := newTestServer(t)
	return url
}

func newTestServer(t *testing.T) (*server, string) {
	t.Helper()
	s, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s.handler())
	t.Cleanup(func() {
		web.Close()
		s.shutdown()
	})
	return s, web.URL
}

func signedIn(t *testing.T, server, name string) *client {
	t.Helper()
	c := dial(t, server, "/ws", cookieOf(t, server, name))
	if h := c.next("hello"); h.Name != name {
		t.Fatalf("hello is %+v", h)
	}
	return c
}

func dial(t *testing.T, server, path, cookie string) *client {
	t.Helper()
	host := strings.TrimPrefix(server, "http://")
	config, err := websocket.NewConfig("ws://"+host+path, server)
	if err != nil {
		t.Fatal(err)
	}
	config.Header.Set("Cookie", cookieName+"="+cookie)
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	c := &client{t: t, raw: &recorder{Conn: conn}}
	t.Cleanup(c.close)
	if c.ws, err = websocket.NewClient(config, c.raw); err != nil {
		conn.Close()
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(c.ws)
	c.lines.Buffer(nil, 1<<20)
	return c
}

func (c *client) send(r request) { c.write(append(encode(r), '\n')) }

func (c *client) write(line []byte) {
	if _, err := c.ws.Write(line); err != nil {
		c.t.Error(err)
	}
}

// next returns the next line of a kind; it skips those of other kinds.
func (c *client) next(kind string) received {
	c.t.Helper()
	for c.lines.Scan() {
		var r received
		if err := json.Unmarshal(c.lines.Bytes(), &r); err != nil {
			c.t.Fatalf("line %q: %v", c.lines.Bytes(), err)
		}
		if r.Kind == kind {
			return r
		}
	}
	c.t.Fatalf("connection ended before a line of kind %q: %v", kind, c.lines.Err())
	return received{}
}

// awaitPeople returns when the people are those.
func (c *client) awaitPeople(names ...string) {
	c.t.Helper()
	for !slices.Equal(c.next("people").Names, names) {
	}
}

// closeStatus reads to the end of the connection, says goodbye as a browser
// does, and returns the status of the first close frame that came.
func (c *client) closeStatus() int {
	c.t.Helper()
	for c.lines.Scan() {
	}
	if err := c.lines.Err(); err != nil {
		c.t.Errorf("connection ended with %v", err)
	}
	c.close()
	_, frames, _ := bytes.Cut(c.raw.got.Bytes(), []byte("\r\n\r\n"))
	for len(frames) > 1 {
		size, start := int(frames[1]), 2
		switch size {
		case 126:
			size, start = int(binary.BigEndian.Uint16(frames[2:])), 4
		case 127:
			size, start = int(binary.BigEndian.Uint64(frames[2:])), 10
		}
		if frames[0]&0xf == websocket.CloseFrame {
			return int(binary.BigEndian.Uint16(frames[start:]))
		}
		frames = frames[start+size:]
	}
	c.t.Error("no close frame came")
	return 0
}

func (c *client) close() {
	c.once.Do(func() {
		if c.ws != nil {
			c.ws.Close()
		}
		c.raw.Close()
	})
}

// recorder keeps what was read from a connection.
type recorder struct {
	net.Conn
	got bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.got.Write(p[:n])
	return n, err
}

// cookieOf signs in and returns the value of the session's cookie.
func cookieOf(t *testing.T, server, name string) string {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := browser.PostForm(server+"/signin", url.Values{"name": {name}})
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if len(answer.Cookies()) != 1 {
		t.Fatalf("sign in as %q: status %d, cookies %v", name, answer.StatusCode, answer.Cookies())
	}
	cookie := answer.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.MaxAge <= 0 {
		t.Errorf("cookie is %v", cookie)
	}
	return cookie.Value
}

// handshakeStatus returns the status of the answer to a WebSocket handshake.
func handshakeStatus(t *testing.T, server, cookie, origin string) int {
	t.Helper()
	r, err := http.NewRequest("GET", server+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Origin": origin, "Cookie": cookieName + "=" + cookie,
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}
