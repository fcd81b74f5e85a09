package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
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

func TestItTellsTheCloseCode(t *testing.T) {
	t.Parallel()
	pool := gcpool.NewPool()
	pool.Register("users")
	pool.Start()
	defer pool.Shutdown(t.Context())
	server := httptest.NewServer(gcpool.Upgrade(websocket.Server{Handshake: gcpool.SameOrigin, Handler: func(ws *websocket.Conn) {
		pool.GetConn("users").Add("alice", ws)
		pool.GetStream("users").Add("alice", []byte("hello"))
		if _, err := pool.GetConn("users").Kick("alice", 4501, "signed out"); err != nil {
			t.Error(err)
		}
		io.Copy(io.Discard, ws)
	}}))
	defer server.Close()
	err := connect(config(t, "ws"+strings.TrimPrefix(server.URL, "http")), strings.NewReader(""), io.Discard)
	if want := `the server has closed the connection with code 4501: "signed out"`; err == nil || err.Error() != want {
		t.Errorf("it ended with %v", err)
	}
}

func TestItTellsWhyItWasRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "a=b" {
			t.Errorf("asked for %s", r.URL)
		}
		http.Error(w, r.Header.Get("Cookie")+" is not signed in", http.StatusUnauthorized)
	}))
	defer server.Close()
	err := connect(config(t, "ws"+strings.TrimPrefix(server.URL, "http")+"/ws?a=b"), strings.NewReader(""), io.Discard)
	if want := "the server has refused the connection with 401 Unauthorized\nsession=demo-alice is not signed in\n"; err == nil || err.Error() != want {
		t.Errorf("it ended with %v", err)
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
