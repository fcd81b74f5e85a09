package people

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/internal/people/peopletest"
)

func startServer(t *testing.T) string {
	t.Helper()
	_, url := newTestServer(t, Config{})
	return url
}

func newTestServer(t *testing.T, c Config) (*Server, string) {
	t.Helper()
	s, err := New(gcpool.NewPool(), c)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		web.Close()
		s.Shutdown()
	})
	return s, web.URL
}

func TestMessageArrivesAndItsOutcomeIsTold(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice, bob := peopletest.SignedIn(t, url, "alice"), peopletest.SignedIn(t, url, "bob")
	alice.Send(peopletest.Request{To: "bob", Text: "hi <b> & \u2028", Ref: 7})
	m := bob.Next("message")
	if m.From != "alice" || m.To != "bob" || m.Text != "hi <b> & \u2028" || m.At == 0 {
		t.Errorf("message is %+v", m)
	}
	if o := alice.Next("outcome"); o.Ref != 7 || o.Error != "" {
		t.Errorf("outcome is %+v", o)
	}
}

func TestOutcomeSaysWhyNot(t *testing.T) {
	t.Parallel()
	alice := peopletest.SignedIn(t, startServer(t), "alice")
	for i, c := range []struct{ line, why string }{
		{`{"to":"nobody","text":"hi","ref":1}`, "nobody is not connected"},
		{`{"to":"alice","text":" ","ref":2}`, "no text"},
		{`{"to":7,"text":"hi","ref":3}`, "did not understand"},
	} {
		alice.Write([]byte(c.line + "\n"))
		if o := alice.Next("outcome"); o.Ref != int64(i+1) || !strings.Contains(o.Error, c.why) {
			t.Errorf("outcome of %s is %+v", c.line, o)
		}
	}
}

func TestSenderLearnsWhoDidNotGetIt(t *testing.T) {
	t.Parallel()
	s, url := newTestServer(t, Config{})
	alice := peopletest.SignedIn(t, url, "alice")
	data := encode(message{Kind: "message", From: "alice", To: everyone, Text: "all", Ref: 5})
	s.undelivered(gcpool.Undelivered{ID: "bob", Data: encode(hello{Kind: "hello"}), Err: gcpool.ErrSlow})
	s.undelivered(gcpool.Undelivered{ID: "bob", Data: data, Err: gcpool.ErrSlow})
	if u := alice.Next("undelivered"); u.Ref != 5 || u.To != "bob" || u.Error != "bob was too slow to take it." {
		t.Errorf("report is %+v", u)
	}
}

func TestMessageToEveryoneReachesEveryone(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice, bob := peopletest.SignedIn(t, url, "alice"), peopletest.SignedIn(t, url, "bob")
	for ref, to := range []string{"", everyone} {
		alice.Send(peopletest.Request{To: to, Text: "all", Ref: int64(ref)})
		for _, who := range []*peopletest.Client{alice, bob} {
			if m := who.Next("message"); m.To != everyone || m.Text != "all" {
				t.Errorf("to %q: message is %+v", to, m)
			}
		}
		if o := alice.Next("outcome"); o.Error != "" {
			t.Errorf("to %q: outcome is %+v", to, o)
		}
	}
}

func TestMessagesToOneNameKeepTheirOrder(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice, bob := peopletest.SignedIn(t, url, "alice"), peopletest.SignedIn(t, url, "bob")
	const messages = 200
	go func() {
		for i := range messages {
			alice.Send(peopletest.Request{To: "bob", Text: fmt.Sprint(i), Ref: int64(i)})
		}
	}()
	for i := range messages {
		if m := bob.Next("message"); m.Text != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m.Text)
		}
	}
	for range messages {
		alice.Next("outcome")
	}
}

func TestPeopleAreTheOnesConnected(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice := peopletest.SignedIn(t, url, "alice")
	alice.AwaitPeople("alice")
	bob := peopletest.SignedIn(t, url, "bob")
	alice.AwaitPeople("alice", "bob")
	peopletest.SignedIn(t, url, "bob").AwaitPeople("alice", "bob")
	bob.Close()
	peopletest.SignedIn(t, url, "carol")
	alice.AwaitPeople("alice", "bob", "carol")
}

func TestPeopleAreWithoutWhoLeft(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice, bob := peopletest.SignedIn(t, url, "alice"), peopletest.SignedIn(t, url, "bob")
	alice.AwaitPeople("alice", "bob")
	bob.Close()
	alice.AwaitPeople("alice")
}

func TestSecondConnectionTakesOver(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	first := peopletest.SignedIn(t, url, "alice")
	second := peopletest.SignedIn(t, url, "alice")
	if status := first.CloseStatus(); status != 4500 {
		t.Errorf("the first is closed with %d", status)
	}
	second.Send(peopletest.Request{To: "alice", Text: "me", Ref: 1})
	if m := second.Next("message"); m.Text != "me" {
		t.Errorf("message is %+v", m)
	}
}

func TestLineOverTheLimitClosesWith1009(t *testing.T) {
	t.Parallel()
	alice := peopletest.SignedIn(t, startServer(t), "alice")
	const limit = 64 << 10
	frame := `{"to":"alice","ref":1,"text":"%s"}` + "\n"
	alice.Write(fmt.Appendf(nil, frame, strings.Repeat("x", limit-len(frame)+2)))
	if o := alice.Next("outcome"); o.Error != "" {
		t.Fatalf("the longest line that fits: %+v", o)
	}
	alice.Write(fmt.Appendf(nil, frame, strings.Repeat("x", limit-len(frame)+3)))
	if status := alice.CloseStatus(); status != statusTooBig {
		t.Errorf("closed with %d", status)
	}
}

func TestEndOfTheSessionClosesWith4001(t *testing.T) {
	t.Parallel()
	s, url := newTestServer(t, Config{})
	earlier := &sessions{key: s.sessions.key, now: func() time.Time { return time.Now().Add(2*time.Second - sessionTTL) }}
	alice := peopletest.Dial(t, url, "/ws", earlier.seal("alice"))
	alice.Next("hello")
	if status := alice.CloseStatus(); status != statusExpired {
		t.Errorf("closed with %d", status)
	}
}

func TestHandshakeIsRefused(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	other := newSessions(NewKey())
	alice := peopletest.CookieOf(t, server, "alice")
	for name, c := range map[string]struct{ path, cookie, origin string }{
		"without cookie":            {"/ws", "", server},
		"with another key's cookie": {"/ws", other.seal("alice"), server},
		"from a foreign origin":     {"/ws", alice, "http://evil.example"},
		"without an origin":         {"/ws", alice, ""},
		"as somebody else":          {"/ws?as=bob", alice, server},
		"as nobody":                 {"/ws?as=", alice, server},
	} {
		if status := peopletest.HandshakeStatus(t, server, c.path, c.cookie, c.origin); status != http.StatusForbidden {
			t.Errorf("%s: status %d", name, status)
		}
	}
	for _, path := range []string{"/ws", "/ws?as=alice"} {
		if status := peopletest.HandshakeStatus(t, server, path, alice, server); status != http.StatusSwitchingProtocols {
			t.Errorf("%s as it should be: status %d", path, status)
		}
	}
}

func TestNameIsNotTakenFromTheQuery(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	c := peopletest.Dial(t, server, "/ws?id=bob&name=bob", peopletest.CookieOf(t, server, "alice"))
	if h := c.Next("hello"); h.Name != "alice" {
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
	if bytes.Count(body, []byte("<script")) != 1 || bytes.Count(body, []byte("<style")) != 1 || !bytes.HasSuffix(body, []byte("</html>\n")) {
		t.Error("the page is not the one file with one script and one style")
	}
	between := func(from, to string) string { // as a browser hashes it
		_, rest, _ := bytes.Cut(body, []byte(from))
		text, _, _ := bytes.Cut(rest, []byte(to))
		sum := sha256.Sum256(text)
		return fmt.Sprintf("-src 'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:]))
	}
	policy := answer.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "connect-src 'self'", "script" + between("<script>", "</script>"), "style" + between("<style>", "</style>")} {
		if !strings.Contains(policy, part) {
			t.Errorf("policy %q is without %q", policy, part)
		}
	}
	if answer.Header.Get("X-Content-Type-Options") != "nosniff" || answer.Header.Get("Referrer-Policy") == "" {
		t.Errorf("headers are %v", answer.Header)
	}
}
