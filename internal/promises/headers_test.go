package promises

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

const (
	version = "Sec-WebSocket-Version: 13\n"
	key     = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n"
)

// opens sends a request line and headers unchanged. It returns the response and a
// reader of the bytes that follow.
func opens(t *testing.T, addr, line, headers string) (*http.Response, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	text := fmt.Sprintf("%s\nHost: %s\nOrigin: http://%s\n%s\n", line, addr, addr, headers)
	io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n"))
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp, r
}

// TestHandshakeInEveryForm: the headers of a handshake are lists, which can be written in many
// ways (RFC 6455 section 4.2.1).
func TestHandshakeInEveryForm(t *testing.T) {
	p, conns, stream := started(t)
	addr := serve(t, gcpool.Upgrade, websocket.Server{Handshake: gcpool.SameOrigin, Handler: verbatim(p, func() {})})
	for i, headers := range []string{
		"Connection: Upgrade\nUpgrade: websocket\n",
		"Connection: keep-alive\nConnection: Upgrade\nUpgrade: websocket\n", // Tcl
		"Connection: Upgrade\nConnection: keep-alive\nUpgrade: websocket\n",
		"Connection: keep-alive, Upgrade\nUpgrade: websocket\n", // Firefox
		"connection: UPGRADE,keep-alive\nupgrade: WebSocket\n",
		"Connection: keep-alive ,\tupgrade\nUpgrade: websocket\n",
		"Connection: Upgrade\nUpgrade: h2c, websocket\n",
		"Connection: Upgrade\nUpgrade: h2c\nUpgrade: WEBSOCKET\n",
		"Connection: Upgrade\nUpgrade: websocket\nUpgrade: h2c\n",
	} {
		id := fmt.Sprint(i)
		resp, r := opens(t, addr, "GET /?id="+id+" HTTP/1.1", headers+version+key)
		if resp.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("%q: %v", headers, resp.Status)
			continue
		}
		eventually(t, "joined", func() bool { return conns.Connected(id) == 1 })
		add(t, stream, id, "hello")
		if _, text, err := frame(r); text != "hello\n" {
			t.Errorf("%q: received %q, %v", headers, text, err)
		}
	}
}

// TestUpgradeChangesNoHeadersInFront: middleware in front of Upgrade has the same request, so
// Upgrade must not change the request's headers.
func TestUpgradeChangesNoHeadersInFront(t *testing.T) {
	t.Parallel()
	headers := make(chan http.Header, 2)
	inner := gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) { headers <- ws.Request().Header }))
	addr := serve(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		headers <- r.Header
	}))
	opens(t, addr, "GET / HTTP/1.1", "Connection: a\nConnection: Upgrade\nUpgrade: b\nUpgrade: websocket\n"+
		"Sec-WebSocket-Protocol: chat\nSec-WebSocket-Extensions: x\nSec-WebSocket-Extensions: y\n"+version+key)
	inside, front := <-headers, <-headers
	for name, want := range map[string]string{"Connection": "[a, Upgrade]", "Upgrade": "[websocket]",
		"Sec-Websocket-Protocol": "[chat]", "Sec-Websocket-Extensions": "[x, y]"} {
		if got := fmt.Sprint(inside[name]); got != want {
			t.Errorf("the handler sees %s: %s, want %s", name, got, want)
		}
	}
	if got := fmt.Sprint(front["Connection"], front["Upgrade"]); got != "[a Upgrade] [b websocket]" {
		t.Errorf("the middleware sees %s", got)
	}
}

// TestWhatIsNoHandshakeIsToldWhy: Upgrade answers an invalid handshake itself and says what is
// wrong. The handler never sees the request; middleware in front sees the status.
func TestWhatIsNoHandshakeIsToldWhy(t *testing.T) {
	const asks = "Connection: Upgrade\nUpgrade: websocket\n"
	status := make(chan int, 1)
	inner := gcpool.Upgrade(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Error("the handler sees", r.Header) }))
	addr := serve(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &noted{ResponseWriter: w}
		inner.ServeHTTP(s, r)
		status <- s.status
	}))
	for _, test := range []struct {
		proto, headers string
		status         int
		why            string
	}{
		{"HTTP/1.0", asks + version + key, 400, "HTTP/1.0"},
		{"HTTP/1.1", asks + version, 400, "0 Sec-WebSocket-Key headers"},
		{"HTTP/1.1", asks + version + key + key, 400, "2 Sec-WebSocket-Key headers"},
		{"HTTP/1.1", asks + version + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\n", 400, "16 bytes"}, // 17
		{"HTTP/1.1", asks + version + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\n", 400, "16 bytes"},     // 15
		{"HTTP/1.1", asks + version + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA\n", 400, "16 bytes"},   // no padding
		{"HTTP/1.1", asks + version + "Sec-WebSocket-Key: sixteen bytes...\n", 400, "16 bytes"},
		{"HTTP/1.1", asks + version + "Sec-WebSocket-Key:\n", 400, "16 bytes"},
		{"HTTP/1.1", asks + key, 426, "must be 13"},
		{"HTTP/1.1", asks + key + "Sec-WebSocket-Version: 8\n", 426, "must be 13"},
		{"HTTP/1.1", asks + key + "Sec-WebSocket-Version: 13, 8\n", 426, "must be 13"},
		{"HTTP/1.1", asks + key + version + version, 426, "must be 13"}, // must appear once, RFC 6455 section 11.3.5
	} {
		resp, _ := opens(t, addr, "GET / "+test.proto, test.headers)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != test.status || !strings.Contains(string(body), test.why) {
			t.Errorf("%s %q: %s %q, want %d", test.proto, test.headers, resp.Status, body, test.status)
		}
		spoken := resp.Header.Get("Sec-WebSocket-Version") + " " + resp.Header.Get("Upgrade") + " " + resp.Header.Get("Connection")
		if test.status == http.StatusUpgradeRequired && spoken != "13 websocket Upgrade" {
			t.Errorf("%q: told %q", test.headers, spoken)
		}
		if got := <-status; got != test.status {
			t.Errorf("%q: the middleware sees %d", test.headers, got)
		}
	}
}

// noted is a ResponseWriter that records the status.
type noted struct {
	http.ResponseWriter
	status int
}

func (n *noted) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}

func (n *noted) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// TestWhatAsksForNoWebSocketPasses: a request that does not ask for a
// WebSocket reaches the handler unchanged.
func TestWhatAsksForNoWebSocketPasses(t *testing.T) {
	addr := serve(t, gcpool.Upgrade, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header["Connection"], r.Header["Upgrade"])
	}))
	for headers, want := range map[string]string{
		"": "[] []",
		"Connection: keep-alive\nConnection: close\n":       "[keep-alive close] []",
		"Connection: close\nUpgrade: websocket\n":           "[close] [websocket]",
		"Connection: Upgrade, close\nUpgrade: h2c\n":        "[Upgrade, close] [h2c]",
		"Connection: Upgraded\nUpgrade: websocket\n":        "[Upgraded] [websocket]",
		"Connection: Upgrade\nUpgrade: websocket/13, x y\n": "[Upgrade] [websocket/13, x y]",
	} {
		resp, _ := opens(t, addr, "GET / HTTP/1.1", headers)
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || string(body) != want {
			t.Errorf("%q: %s %q, want %q", headers, resp.Status, body, want)
		}
	}
}
