package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool/examples/push/page/pagetest"
)

func TestDashboardShowsThePushes(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice := pagetest.SignedIn(t, url, "alice")
	alice.Send(pagetest.Request{To: "alice", Text: "hi", Ref: 1})
	alice.Next("outcome")
	answer, err := http.Get(url + "/debug/gcpool") // redirected to the slash
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	policy := answer.Header.Get("Content-Security-Policy")
	if answer.StatusCode != http.StatusOK || !strings.Contains(policy, "script-src 'self'") {
		t.Errorf("status %d, policy %q", answer.StatusCode, policy)
	}
	if answer, err = http.Get(url + "/debug/gcpool/data.json"); err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var figures struct {
		Pools []struct {
			Name                 string
			Connections, Written int
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&figures); err != nil {
		t.Fatal(err)
	}
	if p := figures.Pools; len(p) != 1 || p[0].Name != "people" || p[0].Connections != 1 || p[0].Written < 2 {
		t.Errorf("figures are %+v", figures)
	}
}

func TestDashboardIsForThisMachineOnly(t *testing.T) {
	t.Parallel()
	s, url := newTestServer(t)
	cookie := &http.Cookie{Name: "session", Value: pagetest.CookieOf(t, url, "alice")}
	for _, c := range []struct {
		from, host string
		status     int
	}{
		{"127.0.0.1:5000", "localhost:8080", http.StatusOK},
		{"127.0.0.1:5000", "127.0.0.1", http.StatusOK},
		{"[::1]:5000", "[::1]:8080", http.StatusOK},
		{"[::1]:5000", "[::1]", http.StatusOK},
		{"[::ffff:127.0.0.1]:5000", "LOCALHOST", http.StatusOK},
		{"192.0.2.1:5000", "localhost:8080", http.StatusForbidden},
		{"192.0.2.1:5000", "push.example", http.StatusForbidden},
		{"127.0.0.1:5000", "evil.example", http.StatusForbidden},
		{"127.0.0.1:5000", "127.0.0.1.evil.example:8080", http.StatusForbidden},
		{"", "localhost", http.StatusForbidden},
	} {
		for _, path := range []string{"/debug/gcpool/", "/debug/gcpool/data.json"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.RemoteAddr, r.Host = c.from, c.host
			r.AddCookie(cookie) // a session is no key
			w := httptest.NewRecorder()
			s.handler().ServeHTTP(w, r)
			if w.Code != c.status || c.status != http.StatusOK && strings.Contains(w.Body.String(), "people") {
				t.Errorf("%s from %q for %q: status %d, want %d", path, c.from, c.host, w.Code, c.status)
			}
		}
	}
}
