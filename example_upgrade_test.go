package gcpool_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// read returns a handler that adds the user and reads until the user leaves.
func read(pool *gcpool.Pool, joined chan<- string) websocket.Handler {
	return func(ws *websocket.Conn) {
		id := "alice" // from the session of ws.Request()
		if pool.GetConn("users").Add(id, ws) != nil {
			return
		}
		defer pool.GetConn("users").Del(id)
		joined <- id
		lines := bufio.NewScanner(ws)
		lines.Buffer(make([]byte, 512), 64<<10)
		for lines.Scan() {
		}
	}
}

func ExampleUpgrade() {
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()
	joined := make(chan string, 1)
	mux := http.NewServeMux()
	mux.Handle("/ws", gcpool.Upgrade(read(pool, joined)))
	server := httptest.NewServer(mux)
	defer server.Close()

	address := strings.Replace(server.URL, "http", "ws", 1) + "/ws"
	ws, err := websocket.Dial(address, "", server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ws.Close()
	pool.GetStream("users").Add(<-joined, []byte("hello"))
	var text string
	fmt.Println(websocket.Message.Receive(ws, &text), text)
	// Output: <nil> hello
}

// Every library but x/net's hijacks the request, and the handler adds the connection that Conn
// returns. Here a few lines stand in for the library: with gorilla, coder, gws, gobwas or melody,
// the rest of the handler is the same.
func ExampleConn() {
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()
	joined := make(chan string, 1)
	server := httptest.NewServer(gcpool.Upgrade(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack() // as every library does
		if err != nil {
			return
		}
		defer conn.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))

		id := "alice" // from the session of r
		if pool.GetConn("users").Add(id, gcpool.Conn(r)) != nil {
			return
		}
		defer pool.GetConn("users").Del(id)
		joined <- id
		io.Copy(io.Discard, conn)
	})))
	defer server.Close()

	ws, err := websocket.Dial(strings.Replace(server.URL, "http", "ws", 1), "", server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ws.Close()
	pool.GetStream("users").Add(<-joined, []byte("hello"))
	var text string
	fmt.Println(websocket.Message.Receive(ws, &text), text)
	// Output: <nil> hello
}

// A server without net/http accepts a connection, lets its library do the handshake, and from then
// on uses the connection that NewConn returns.
func ExampleNewConn() {
	pool := gcpool.NewPool()
	pool.Register("users", gcpool.WithNewline(false))
	pool.Start()
	accepted, peer := net.Pipe() // stands in for a connection that a net.Listener accepts
	// _, err := ws.Upgrade(accepted), with github.com/gobwas/ws
	conn := gcpool.NewConn(accepted)
	pool.GetConn("users").Add("alice", conn)

	pool.GetStream("users").Add("alice", []byte("hello"))
	frame := make([]byte, 7)
	_, err := io.ReadFull(peer, frame)
	fmt.Printf("%v %q", err, frame)
	// Output: <nil> "\x81\x05hello"
}

func ExampleWithBinary() {
	pool := gcpool.NewPool(gcpool.WithBinary(true), gcpool.WithNewline(false))
	fmt.Println(pool.Register("images"))
	// Output: <nil>
}

func ExampleSameOrigin() {
	pool := gcpool.NewPool()
	pool.Register("users")
	server := httptest.NewServer(gcpool.Upgrade(websocket.Server{
		Handshake: gcpool.SameOrigin,
		Handler:   read(pool, make(chan string, 1)),
	}))
	defer server.Close()

	address := strings.Replace(server.URL, "http", "ws", 1)
	for _, page := range []string{server.URL, "https://elsewhere.example"} {
		ws, err := websocket.Dial(address, "", page)
		fmt.Println("let in:", err == nil)
		if err == nil {
			ws.Close()
		}
	}
	// Output:
	// let in: true
	// let in: false
}

func ExampleWithHeartbeat() {
	gone := make(chan string, 1)
	pool := gcpool.NewPool(
		gcpool.WithHeartbeat(20*time.Millisecond),
		gcpool.WithPresence(func(_, id string, connected bool) {
			if !connected {
				gone <- id
			}
		}),
	)
	pool.Register("users")
	pool.Start()
	server := httptest.NewServer(gcpool.Upgrade(read(pool, make(chan string, 1))))
	defer server.Close()

	ws, err := websocket.Dial(strings.Replace(server.URL, "http", "ws", 1), "", server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ws.Close() // a client that never reads answers no ping
	fmt.Println(<-gone, "is gone")
	// Output: alice is gone
}

func ExampleWithLogger() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	pool := gcpool.NewPool(gcpool.WithLogger(logger))
	pool.Register("users")
	connect(pool.GetConn("users"), "alice")
	pool.GetConn("users").Del("alice")
	pool.Shutdown(context.Background())
	// Output:
	// level=DEBUG msg="gcpool: joined" pool=users id=alice
	// level=DEBUG msg="gcpool: left" pool=users id=alice reason="gcpool: connection deleted"
}
