package try

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// A Client is a user's WebSocket.
type Client struct {
	t   *testing.T
	ws  *websocket.Conn
	raw *tail
}

// tail keeps the last bytes that came, because x/net does not report the status with which a
// connection was closed.
type tail struct {
	net.Conn
	last []byte
}

func (c *tail) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.last = append(c.last, p[:n]...)
	c.last = c.last[max(0, len(c.last)-4):]
	return n, err
}

// Dial connects to "http://host:port/path" as a page of the server does, with a session's cookie.
func Dial(t *testing.T, url, session string) *Client {
	t.Helper()
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	config, err := websocket.NewConfig("ws"+strings.TrimPrefix(url, "http"), "http://"+host)
	if err != nil {
		t.Fatal(err)
	}
	config.Header.Set("Cookie", "session="+session)
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	c := &Client{t: t, raw: &tail{Conn: conn}}
	if c.ws, err = websocket.NewClient(config, c.raw); err != nil {
		t.Fatal(err)
	}
	return c
}

// Send sends one line.
func (c *Client) Send(line string) {
	c.t.Helper()
	if err := websocket.Message.Send(c.ws, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// Next returns the next message, without its newline.
func (c *Client) Next() string {
	c.t.Helper()
	var message string
	if err := websocket.Message.Receive(c.ws, &message); err != nil {
		c.t.Fatalf("instead of a message: %v", err)
	}
	return strings.TrimSuffix(message, "\n")
}

// Close leaves.
func (c *Client) Close() { c.ws.Close() }

// CloseStatus reads to the end, says goodbye, and returns the status with which the server
// closed.
func (c *Client) CloseStatus() int {
	c.t.Helper()
	for {
		var message string
		if err := websocket.Message.Receive(c.ws, &message); err != nil {
			break
		}
	}
	c.Close()
	if len(c.raw.last) < 4 || c.raw.last[0] != 0x88 || c.raw.last[1] != 2 {
		c.t.Errorf("the last bytes are % x, no close frame with a status alone", c.raw.last)
		return 0
	}
	return int(binary.BigEndian.Uint16(c.raw.last[2:]))
}

// GoesAway checks that the server ends the connection with status 1001.
func (c *Client) GoesAway() {
	c.t.Helper()
	if status := c.CloseStatus(); status != 1001 {
		c.t.Errorf("closed with %d", status)
	}
}

// evil is a page of another site.
const evil = "http://evil.example"

// Refused checks that strangers get no WebSocket: neither without a session, nor with a session but
// from a page of another site.
func Refused(t *testing.T, url, session string) {
	t.Helper()
	for name, header := range map[string]http.Header{
		"without a session": {"Origin": {url}},
		"from another site": {"Origin": {evil}, "Cookie": {"session=" + session}},
	} {
		header["Connection"], header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
		header["Sec-Websocket-Version"], header["Sec-Websocket-Key"] = []string{"13"}, []string{"AAAAAAAAAAAAAAAAAAAAAA=="}
		if status, _ := Do(t, "GET", url, header, ""); status != http.StatusForbidden {
			t.Errorf("%s: status %d", name, status)
		}
	}
}

// Do sends a request and returns the status and the body of the answer.
func Do(t *testing.T, method, url string, header http.Header, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	client := http.Client{Timeout: patience}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, strings.TrimSpace(string(text))
}

// Bearer is the header of a service that has a key.
func Bearer(key string) http.Header { return http.Header{"Authorization": {"Bearer " + key}} }

// Session is the header of a browser that has a session.
func Session(session string) http.Header { return http.Header{"Cookie": {"session=" + session}} }

// Await polls until reached returns true. It is for states that nothing reports.
func Await(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !reached(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
