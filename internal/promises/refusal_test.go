package promises

import (
	"cmp"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// logs returns what the default logger writes while the test runs.
func logs(t *testing.T) *syncBuffer {
	t.Helper()
	before, text := slog.Default(), new(syncBuffer)
	slog.SetDefault(slog.New(slog.NewTextHandler(text, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return text
}

// from opens a WebSocket as a page of the given origin does, and returns the response and its body.
func from(t *testing.T, addr, origin string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/", nil)
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
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestRefusedOriginIsToldWhy: the response and the log name the refused origin.
func TestRefusedOriginIsToldWhy(t *testing.T) {
	answers := func(text string) http.Handler { // the answer of gorilla, or of an application
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if gcpool.AllowOrigins("app.example").Check(r) {
				t.Error("let in")
			}
			http.Error(w, text, http.StatusForbidden)
		})
	}
	never := func(*websocket.Conn) { t.Error("let in") }
	for what, test := range map[string]struct {
		h    http.Handler
		body string
	}{
		"SameOrigin":     {websocket.Server{Handshake: gcpool.SameOrigin, Handler: never}, `origin "https://evil.example" is neither this host`},
		"AllowOrigins":   {websocket.Server{Handshake: gcpool.AllowOrigins("a.example").Handshake, Handler: never}, "nor an allowed host"},
		"Subprotocols":   {websocket.Server{Handshake: gcpool.Subprotocols(nil, "x"), Handler: never}, `origin "https://evil.example" is neither this host`},
		"a bare 403":     {answers("Forbidden"), "nor an allowed host"},
		"a 403 with why": {answers("who are you?"), "who are you?"},
	} {
		for order, wrap := range map[string]wrapper{"alone": gcpool.Upgrade, "under middleware": func(h http.Handler) http.Handler {
			return (&limiter{most: 1}).around(gcpool.Upgrade(h))
		}} {
			t.Run(what+" "+order, func(t *testing.T) {
				text := logs(t)
				resp, body := from(t, serve(t, wrap, test.h), "https://evil.example")
				if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, test.body) || !resp.Close {
					t.Errorf("%v %q, want %q", resp, body, test.body)
				}
				if kind := resp.Header.Get("Content-Type"); kind != "text/plain; charset=utf-8" {
					t.Errorf("Content-Type: %s", kind)
				}
				want := `level=INFO msg="gcpool: origin refused" origin=https://evil.example host=`
				if got := text.String(); strings.Count(got, want) != 1 || strings.Count(got, "\n") != 1 {
					t.Errorf("logged %q", got)
				}
			})
		}
	}
}

// TestRefusedOriginIsQuotedAndShortened: the peer chooses the origin,
// so it is quoted and shortened.
func TestRefusedOriginIsQuotedAndShortened(t *testing.T) {
	text := logs(t)
	origin := "https://évil\"<script>.example/" + strings.Repeat("x", 10_000)
	_, body := from(t, serve(t, gcpool.Upgrade, websocket.Server{Handshake: gcpool.SameOrigin}), origin)
	for what, got := range map[string]string{"the body": body, "the log": text.String()} {
		if !strings.Contains(got, `vil\`) || !strings.Contains(got, "...") || len(got) > 600 {
			t.Errorf("%s has %d bytes: %.700q", what, len(got), got)
		}
	}
}

// TestOnlyA403IsExplained: an application may admit an origin that SameOrigin refuses, or
// refuse a handshake for a reason of its own. Neither is explained as a refused origin.
func TestOnlyA403IsExplained(t *testing.T) {
	handshake := func(f func(*websocket.Config, *http.Request) error) http.Handler {
		return websocket.Server{Handshake: f, Handler: protocols}
	}
	for what, test := range map[string]struct {
		h      http.Handler
		origin string
		status int
	}{
		"let in all the same": {handshake(func(c *websocket.Config, r *http.Request) error { gcpool.SameOrigin(c, r); return nil }),
			"https://evil.example", http.StatusSwitchingProtocols},
		"not signed in": {handshake(func(c *websocket.Config, r *http.Request) error {
			return cmp.Or(gcpool.AllowOrigins("app.example").Handshake(c, r), http.ErrNoCookie)
		}), "https://app.example", http.StatusForbidden},
		"another status": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			gcpool.AllowOrigins().Check(r)
			w.WriteHeader(http.StatusUnauthorized)
		}), "https://evil.example", http.StatusUnauthorized},
	} {
		t.Run(what, func(t *testing.T) {
			text := logs(t)
			resp, body := from(t, serve(t, gcpool.Upgrade, test.h), test.origin)
			if resp.StatusCode != test.status || body != "" || resp.Header.Get("Content-Type") != "" || text.String() != "" {
				t.Errorf("%v %q, and logged %q", resp, body, text.String())
			}
		})
	}
}

// TestMissingOriginThatIsAllowed: a connection without an origin
// still has an address that can be printed.
func TestMissingOriginThatIsAllowed(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addresses := make(chan string, 1)
		addr := serve(t, wrap, websocket.Server{Handshake: gcpool.AllowOrigins().AllowMissing().Handshake,
			Handler: func(ws *websocket.Conn) { addresses <- ws.RemoteAddr().String() }})
		if resp, _ := from(t, addr, ""); resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%s", resp.Status)
		}
		if got := <-addresses; got != "" {
			t.Errorf("the address is %q", got)
		}
		if resp, _ := from(t, addr, "https://evil.example"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("a foreign origin: %s", resp.Status)
		}
	})
}
