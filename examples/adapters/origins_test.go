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
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}, "Origin": {origin}}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, ""
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
