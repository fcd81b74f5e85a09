package main

import (
	"bufio"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

func TestLinesGoBothWays(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(websocket.Server{Handshake: gcpool.SameOrigin, Handler: func(ws *websocket.Conn) {
		cookie, _ := ws.Request().Cookie("session")
		lines := bufio.NewScanner(ws)
		for range 2 {
			lines.Scan()
			fmt.Fprintf(ws, "%s: %s\n", cookie.Value, lines.Text())
		}
	}})
	defer server.Close()
	var out strings.Builder
	err := connect(config(t, "ws"+strings.TrimPrefix(server.URL, "http")), strings.NewReader("one\ntwo\n"), &out)
	if err == nil || out.String() != "demo-alice: one\ndemo-alice: two\n" {
		t.Errorf("it printed %q, and ended with %v", &out, err)
	}
	if err := connect(config(t, "ws://127.0.0.1:1"), strings.NewReader(""), &out); err == nil {
		t.Error("no error where nobody listens")
	}
}

func config(t *testing.T, url string) *websocket.Config {
	t.Helper()
	c, err := websocket.NewConfig(url, "http"+strings.TrimPrefix(url, "ws"))
	if err != nil {
		t.Fatal(err)
	}
	c.Header.Set("Cookie", "session=demo-alice")
	return c
}
