// Package pagetest stands in for a browser in tests of servers that serve the page.
package pagetest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

const (
	cookieName = "session"
	patience   = time.Minute // how long a connection may last, on a busy machine
)

// A Client is a browser's side of a WebSocket. It keeps every byte that comes, because x/net does
// not report the status with which a connection was closed.
type Client struct {
	t     testing.TB
	ws    *websocket.Conn
	lines *bufio.Scanner
	raw   *recorder
	once  sync.Once
}

// A Request is what a browser sends.
type Request struct {
	To   string `json:"to"`
	Text string `json:"text"`
	Ref  int64  `json:"ref"`
}

// Received is any line that a browser gets.
type Received struct {
	Kind, Name, From, To, Text, Error, Node string

	Names, On          []string
	At, Ref            int64
	More               int
	Partial, Uncertain bool
}

// SignedIn signs in at a server, connects, and awaits the hello.
func SignedIn(t testing.TB, server, name string) *Client {
	t.Helper()
	c := Dial(t, server, "/ws", CookieOf(t, server, name))
	if h := c.Next("hello"); h.Name != name {
		t.Fatalf("hello is %+v", h)
	}
	return c
}

// Dial connects to a path of a server with a session.
func Dial(t testing.TB, server, path, cookie string) *Client {
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
	conn.SetDeadline(time.Now().Add(patience))
	c := &Client{t: t, raw: &recorder{Conn: conn}}
	t.Cleanup(c.Close)
	if c.ws, err = websocket.NewClient(config, c.raw); err != nil {
		conn.Close()
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(c.ws)
	c.lines.Buffer(nil, 1<<20)
	return c
}

// Send sends r as a line.
func (c *Client) Send(r Request) {
	line, err := json.Marshal(r)
	if err != nil {
		c.t.Error(err)
	}
	c.Write(append(line, '\n'))
}

// Write sends bytes as a frame.
func (c *Client) Write(line []byte) {
	if _, err := c.ws.Write(line); err != nil {
		c.t.Error(err)
	}
}

// Next returns the next line of a kind, and skips other kinds.
func (c *Client) Next(kind string) Received {
	c.t.Helper()
	for c.lines.Scan() {
		var r Received
		if err := json.Unmarshal(c.lines.Bytes(), &r); err != nil {
			c.t.Fatalf("line %q: %v", c.lines.Bytes(), err)
		}
		if r.Kind == kind {
			return r
		}
	}
	c.t.Fatalf("connection ended before a line of kind %q: %v", kind, c.lines.Err())
	return Received{}
}

// Ignore reads and drops all further lines, so that the server does not take the client for dead.
func (c *Client) Ignore() {
	go func() {
		for c.lines.Scan() {
		}
	}()
}

// AwaitPeople returns when a list has exactly these names.
func (c *Client) AwaitPeople(names ...string) {
	c.t.Helper()
	for !slices.Equal(c.Next("people").Names, names) {
	}
}

// CloseStatus reads to the end of the connection, says goodbye as a browser
// does, and returns the status of the first close frame that came.
func (c *Client) CloseStatus() int {
	c.t.Helper()
	for c.lines.Scan() {
	}
	if err := c.lines.Err(); err != nil {
		c.t.Errorf("connection ended with %v", err)
	}
	c.Close()
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

// Close ends the connection.
func (c *Client) Close() {
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

// CookieOf signs in and returns the value of the session's cookie.
func CookieOf(t testing.TB, server, name string) string {
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

// HandshakeStatus returns the status of the answer to a WebSocket handshake.
func HandshakeStatus(t testing.TB, server, path, cookie, origin string) int {
	t.Helper()
	r, err := http.NewRequest("GET", server+path, nil)
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
