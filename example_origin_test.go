package gcpool_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

func ExampleAllowOrigins() {
	pages := gcpool.AllowOrigins("app.example.com", "*.example.org")
	server := httptest.NewServer(gcpool.Upgrade(websocket.Server{
		Handshake: pages.Handshake,
		Handler:   func(ws *websocket.Conn) {},
	}))
	defer server.Close()

	address := strings.Replace(server.URL, "http", "ws", 1)
	for _, page := range []string{server.URL, "https://app.example.com", "https://www.example.org", "https://example.org"} {
		ws, err := websocket.Dial(address, "", page)
		fmt.Println("let in:", err == nil)
		if err == nil {
			ws.Close()
		}
	}
	// Output:
	// let in: true
	// let in: true
	// let in: true
	// let in: false
}

// An application's own Handshake function can check more than the Origin.
func ExampleOrigins_Handshake() {
	pages := gcpool.AllowOrigins("app.example.com")
	handshake := func(config *websocket.Config, r *http.Request) error {
		if _, err := r.Cookie("session"); err != nil {
			return err
		}
		return pages.Handshake(config, r)
	}

	req := httptest.NewRequest(http.MethodGet, "https://api.example.com/ws", nil)
	req.Header.Set("Origin", "https://app.example.com")
	fmt.Println(handshake(new(websocket.Config), req))
	req.AddCookie(&http.Cookie{Name: "session", Value: "alice's"})
	fmt.Println(handshake(new(websocket.Config), req))
	// Output:
	// http: named cookie not present
	// <nil>
}

// With github.com/gorilla/websocket: Upgrader{CheckOrigin: pages.Check}.
func ExampleOrigins_Check() {
	pages := gcpool.AllowOrigins("app.example.com")
	req := httptest.NewRequest(http.MethodGet, "https://api.example.com/ws", nil)
	for _, origin := range []string{"https://app.example.com", "https://evil.example"} {
		req.Header.Set("Origin", origin)
		fmt.Println(pages.Check(req))
	}
	// Output:
	// true
	// false
}

// With github.com/coder/websocket: AcceptOptions{OriginPatterns: pages.Patterns()}.
func ExampleOrigins_Patterns() {
	pages := gcpool.AllowOrigins("app.example.com", "*.example.org:8443", "[::1]:8080")
	fmt.Println(strings.Join(pages.Patterns(), " "))
	// Output: app.example.com *.example.org:8443 \[::1\]:8080
}

func ExampleOrigins_AllowMissing() {
	pages := gcpool.AllowOrigins("app.example.com")
	req := httptest.NewRequest(http.MethodGet, "https://api.example.com/ws", nil) // from a program
	fmt.Println(pages.Check(req), pages.AllowMissing().Check(req))
	// Output: false true
}

func ExampleSubprotocols() {
	server := httptest.NewServer(gcpool.Upgrade(websocket.Server{
		Handshake: gcpool.Subprotocols(gcpool.SameOrigin, "chat.v2", "chat.v1"), // the best first
		Handler: func(ws *websocket.Conn) {
			fmt.Fprintf(ws, "you speak %q", ws.Config().Protocol)
		},
	}))
	defer server.Close()

	address := strings.Replace(server.URL, "http", "ws", 1)
	for _, offered := range [][]string{{"chat.v1"}, {"chat.v1", "chat.v2"}, {"log"}, nil} {
		config, _ := websocket.NewConfig(address, server.URL)
		config.Protocol = offered
		ws, err := websocket.DialConfig(config)
		if err != nil {
			fmt.Println(err)
			continue
		}
		var text string
		websocket.Message.Receive(ws, &text)
		fmt.Println(text)
		ws.Close()
	}
	// Output:
	// you speak ["chat.v1"]
	// you speak ["chat.v2"]
	// you speak []
	// you speak []
}
