package adapters

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	coder "github.com/coder/websocket"
	"github.com/gorilla/websocket"
	"github.com/nulijiabei/gcpool"
)

// TestOriginsOfOtherLibraries: what gcpool.AllowOrigins lets in, gorilla and coder do,
// each asked in its own way, with Upgrade around it or not.
func TestOriginsOfOtherLibraries(t *testing.T) {
	pages := gcpool.AllowOrigins("app.example.net", "*.example.org", "[::1]:8080")
	upgrader := websocket.Upgrader{CheckOrigin: pages.Check}
	for name, h := range map[string]http.HandlerFunc{
		"gorilla": func(w http.ResponseWriter, r *http.Request) {
			if ws, err := upgrader.Upgrade(w, r, nil); err == nil {
				ws.Close()
			}
		},
		"coder": func(w http.ResponseWriter, r *http.Request) {
			if ws, err := coder.Accept(w, r, &coder.AcceptOptions{OriginPatterns: pages.Patterns()}); err == nil {
				ws.CloseNow()
			}
		},
	} {
		for around, server := range map[string]*httptest.Server{
			"alone": httptest.NewServer(h), "under Upgrade": httptest.NewServer(gcpool.Upgrade(h)),
		} {
			t.Run(name+" "+around, func(t *testing.T) {
				t.Cleanup(server.Close)
				for origin, want := range map[string]int{
					server.URL: 101, "https://app.example.net": 101, "https://www.example.org": 101, "http://[::1]:8080": 101,
					"https://example.org": 403, "https://app.example.net:8443": 403, "http://[::1]": 403, "https://evil.example": 403,
				} {
					status, body := origined(t, server.URL, origin)
					if status != want {
						t.Errorf("%s: %d %q, want %d", origin, status, body, want)
					}
					if around == "under Upgrade" && status == 403 && !strings.Contains(body, origin[strings.Index(origin, "//")+2:]) {
						t.Errorf("%s: the answer does not say why: %q", origin, body)
					}
				}
			})
		}
	}
}

// origined asks for a WebSocket from a page of an origin.
func origined(t *testing.T, url, origin string) (status int, body string) {
	t.Helper()
	ws, answer, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http"), http.Header{"Origin": {origin}})
	if answer == nil {
		t.Fatal(err)
	}
	if ws != nil {
		ws.Close()
		return answer.StatusCode, ""
	}
	text, _ := io.ReadAll(answer.Body) // as much as the library keeps
	return answer.StatusCode, string(text)
}
