package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

func TestMessageArrivesAndItsOutcomeIsTold(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice, bob := signedIn(t, url, "alice"), signedIn(t, url, "bob")
	alice.send(request{To: "bob", Text: "hi <b> & \u2028", Ref: 7})
	m := bob.next("message")
	if m.From != "alice" || m.To != "bob" || m.Text != "hi <b> & \u2028" || m.At == 0 {
		t.Errorf("message is %+v", m)
	}
	if o := alice.next("outcome"); o.Ref != 7 || o.Error != "" {
		t.Errorf("outcome is %+v", o)
	}
}

func TestOutcomeSaysWhyNot(t *testing.T) {
	t.Parallel()
	alice := signedIn(t, startServer(t), "alice")
	for i, c := range []struct{ line, why string }{
		{`{"to":"nobody","text":"hi","ref":1}`, "nobody is not connected"},
		{`{"to":"alice","text":" ","ref":2}`, "no text"},
		{`{"to":7,"text":"hi","ref":3}`, "did not understand"},
	} {
		alice.write([]byte(c.line + "\n"))
		if o := alice.next("outcome"); o.Ref != int64(i+1) || !strings.Contains(o.Error, c.why) {
			t.Errorf("outcome of %s is %+v", c.line, o)
		}
	}
}

func TestSenderLearnsWhoDidNotGetIt(t *testing.T) {
	t.Parallel()
	s, url := newTestServer(t)
	alice := signedIn(t, url, "alice")
	data := encode(message{Kind: "message", From: "alice", To: everyone, Text: "all", Ref: 5})
	s.undelivered(gcpool.Undelivered{ID: "bob", Data: encode(hello{Kind: "hello"}), Err: gcpool.ErrSlow})
	s.undelivered(gcpool.Undelivered{ID: "bob", Data: data, Err: gcpool.ErrSlow})
	if u := alice.next("undelivered"); u.Ref != 5 || u.To != "bob" || u.Error != "bob was too slow to take it." {
		t.Errorf("report is %+v", u)
	}
}

func TestMessageToEveryoneReachesEveryone(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice, bob := signedIn(t, url, "alice"), signedIn(t, url, "bob")
	for ref, to := range []string{"", everyone} {
		alice.send(request{To: to, Text: "all", Ref: int64(ref)})
		for _, who := range []*client{alice, bob} {
			if m := who.next("message"); m.To != everyone || m.Text != "all" {
				t.Errorf("to %q: message is %+v", to, m)
			}
		}
		if o := alice.next("outcome"); o.Error != "" {
			t.Errorf("to %q: outcome is %+v", to, o)
		}
	}
}

func TestMessagesToOneNameKeepTheirOrder(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice, bob := signedIn(t, url, "alice"), signedIn(t, url, "bob")
	const messages = 200
	go func() {
		for i := range messages {
			alice.send(request{To: "bob", Text: fmt.Sprint(i), Ref: int64(i)})
		}
	}()
	for i := range messages {
		if m := bob.next("message"); m.Text != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m.Text)
		}
	}
	for range messages {
		alice.next("outcome")
	}
}

func TestPeopleAreTheOnesConnected(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice := signedIn(t, url, "alice")
	alice.awaitPeople("alice")
	bob := signedIn(t, url, "bob")
	alice.awaitPeople("alice", "bob")
	signedIn(t, url, "bob").awaitPeople("alice", "bob")
	bob.close()
	signedIn(t, url, "carol")
	alice.awaitPeople("alice", "bob", "carol")
}

func TestPeopleAreWithoutWhoLeft(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice, bob := signedIn(t, url, "alice"), signedIn(t, url, "bob")
	alice.awaitPeople("alice", "bob")
	bob.close()
	alice.awaitPeople("alice")
}

func TestSecondConnectionTakesOver(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	first := signedIn(t, url, "alice")
	second := signedIn(t, url, "alice")
	if status := first.closeStatus(); status != 4000 {
		t.Errorf("the first is closed with %d", status)
	}
	second.send(request{To: "alice", Text: "me", Ref: 1})
	if m := second.next("message"); m.Text != "me" {
		t.Errorf("message is %+v", m)
	}
}

func TestLineOverTheLimitClosesWith1009(t *testing.T) {
	t.Parallel()
	alice := signedIn(t, startServer(t), "alice")
	const limit = 64 << 10
	frame := `{"to":"alice","ref":1,"text":"%s"}` + "\n"
	alice.write(fmt.Appendf(nil, frame, strings.Repeat("x", limit-len(frame)+2)))
	if o := alice.next("outcome"); o.Error != "" {
		t.Fatalf("the longest line that fits: %+v", o)
	}
	alice.write(fmt.Appendf(nil, frame, strings.Repeat("x", limit-len(frame)+3)))
	if status := alice.closeStatus(); status != statusTooBig {
		t.Errorf("closed with %d", status)
	}
}

func TestHandshakeIsRefused(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	other := newSessions()
	for name, c := range map[string]struct{ cookie, origin string }{
		"without cookie":            {"", server},
		"with another key's cookie": {other.seal("alice"), server},
		"from a foreign origin":     {cookieOf(t, server, "alice"), "http://evil.example"},
		"without an origin":         {cookieOf(t, server, "alice"), ""},
	} {
		if status := handshakeStatus(t, server, c.cookie, c.origin); status != http.StatusForbidden {
			t.Errorf("%s: status %d", name, status)
		}
	}
	if status := handshakeStatus(t, server, cookieOf(t, server, "alice"), server); status != http.StatusSwitchingProtocols {
		t.Errorf("as it should be: status %d", status)
	}
}

func TestNameIsNotTakenFromTheQuery(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	c := dial(t, server, "/ws?id=bob&name=bob", cookieOf(t, server, "alice"))
	if h := c.next("hello"); h.Name != "alice" {
		t.Errorf("hello is %+v", h)
	}
}

func TestSignInIsForThisSiteOnly(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"} {
		r, _ := http.NewRequest("POST", server+"/signin", strings.NewReader("name=alice"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set(header, value)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden || len(answer.Cookies()) > 0 {
			t.Errorf("%s: %s: status %d", header, value, answer.StatusCode)
		}
	}
}

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar}
	post := func(path string, form url.Values) (int, string) {
		answer, err := browser.PostForm(server+path, form)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		return answer.StatusCode, string(body)
	}
	if status, body := post("/signin", url.Values{"name": {"  Zoë 1 "}}); status != 200 || !strings.Contains(body, `"Zoë 1"`) {
		t.Errorf("sign in: %d %s", status, body)
	}
	if status, body := post("/signin", url.Values{"name": {" "}}); status != 400 || !strings.Contains(body, "enter a name") {
		t.Errorf("empty name: %d %s", status, body)
	}
	if status, body := post("/signout", nil); status != 200 || !strings.Contains(body, `"name":""`) {
		t.Errorf("sign out: %d %s", status, body)
	}
}

func TestPageCarriesItsPolicy(t *testing.T) {
	t.Parallel()
	answer, err := http.Get(startServer(t))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	if !bytes.Equal(body, page) || bytes.Count(page, []byte("<script")) != 1 || bytes.Count(page, []byte("<style")) != 1 {
		t.Error("the page is not the one file with one script and one style")
	}
	policy := answer.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "connect-src 'self'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("policy %q is without %q", policy, part)
		}
	}
	if answer.Header.Get("X-Content-Type-Options") != "nosniff" || answer.Header.Get("Referrer-Policy") == "" {
		t.Errorf("headers are %v", answer.Header)
	}
}

func TestTakenAddressIsOneLineAndExitCode1(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var stdout, stderr bytes.Buffer
	addr := listener.Addr().String()
	if code := run(t.Context(), []string{"-addr", addr}, &stdout, &stderr); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if text := stderr.String(); strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") || !strings.Contains(text, addr) {
		t.Errorf("stderr is %q", text)
	}
	if stdout.Len() > 0 {
		t.Errorf("stdout is %q", &stdout)
	}
}

func TestShutdownClosesClientsWith1001(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, stdout := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"-addr", "127.0.0.1:0"}, stdout, &stderr)
		stdout.Close()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	alice := signedIn(t, strings.Fields(line)[2], "alice")
	cancel()
	if status := alice.closeStatus(); status != 1001 {
		t.Errorf("closed with %d", status)
	}
	select {
	case c := <-code:
		if c != 0 || stderr.Len() > 0 {
			t.Errorf("exit code %d, stderr %q", c, &stderr)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("run does not return")
	}
}

func TestLinkCanBeOpened(t *testing.T) {
	t.Parallel()
	listening := &net.TCPAddr{IP: net.IPv6zero, Port: 80}
	for addr, want := range map[string]string{
		"localhost:0": "http://localhost:80", ":80": "http://localhost:80", "0.0.0.0:80": "http://localhost:80",
		"[::]:80": "http://localhost:80", "[::1]:80": "http://[::1]:80", "192.0.2.1:80": "http://192.0.2.1:80",
	} {
		if got := link(addr, listening); got != want {
			t.Errorf("link(%q) = %q, want %q", addr, got, want)
		}
	}
}
