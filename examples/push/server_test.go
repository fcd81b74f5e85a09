package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/push/page"
	"github.com/nulijiabei/gcpool/examples/push/page/pagetest"
)

func startServer(t *testing.T) string {
	t.Helper()
	_, url := newTestServer(t)
	return url
}

func newTestServer(t *testing.T) (*server, string) {
	t.Helper()
	s, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, "http://" + listener.Addr().String()
}

func TestMessageArrivesAndItsOutcomeIsTold(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice, bob := pagetest.SignedIn(t, url, "alice"), pagetest.SignedIn(t, url, "bob")
	alice.Send(pagetest.Request{To: "bob", Text: "hi <b> & \u2028", Ref: 7})
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
	alice := pagetest.SignedIn(t, startServer(t), "alice")
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
	s, url := newTestServer(t)
	alice := pagetest.SignedIn(t, url, "alice")
	data := page.Message("alice", page.Request{To: page.Everyone, Text: "all", Ref: 5})
	s.undelivered(gcpool.Undelivered{ID: "bob", Data: s.page.Hello("bob"), Err: gcpool.ErrSlow})
	s.undelivered(gcpool.Undelivered{ID: "bob", Data: data, Err: gcpool.ErrSlow})
	if u := alice.Next("undelivered"); u.Ref != 5 || u.To != "bob" || u.Error != "bob was too slow to take it." {
		t.Errorf("report is %+v", u)
	}
}

func TestMessageToEveryoneReachesEveryone(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice, bob := pagetest.SignedIn(t, url, "alice"), pagetest.SignedIn(t, url, "bob")
	for ref, to := range []string{"", page.Everyone} {
		alice.Send(pagetest.Request{To: to, Text: "all", Ref: int64(ref)})
		for _, who := range []*pagetest.Client{alice, bob} {
			if m := who.Next("message"); m.To != page.Everyone || m.Text != "all" {
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
	alice, bob := pagetest.SignedIn(t, url, "alice"), pagetest.SignedIn(t, url, "bob")
	const messages = 200
	go func() {
		for i := range messages {
			alice.Send(pagetest.Request{To: "bob", Text: fmt.Sprint(i), Ref: int64(i)})
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
	alice := pagetest.SignedIn(t, url, "alice")
	alice.AwaitPeople("alice")
	bob := pagetest.SignedIn(t, url, "bob")
	alice.AwaitPeople("alice", "bob")
	pagetest.SignedIn(t, url, "bob").AwaitPeople("alice", "bob")
	bob.Close()
	pagetest.SignedIn(t, url, "carol")
	alice.AwaitPeople("alice", "bob", "carol")
}

func TestPeopleAreWithoutWhoLeft(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	alice, bob := pagetest.SignedIn(t, url, "alice"), pagetest.SignedIn(t, url, "bob")
	alice.AwaitPeople("alice", "bob")
	bob.Close()
	alice.AwaitPeople("alice")
}

func TestSecondConnectionTakesOver(t *testing.T) {
	t.Parallel()
	url := startServer(t)
	first := pagetest.SignedIn(t, url, "alice")
	second := pagetest.SignedIn(t, url, "alice")
	if status := first.CloseStatus(); status != 4500 {
		t.Errorf("the first is closed with %d", status)
	}
	second.Send(pagetest.Request{To: "alice", Text: "me", Ref: 1})
	if m := second.Next("message"); m.Text != "me" {
		t.Errorf("message is %+v", m)
	}
}

func TestLineOverTheLimitClosesWith1009(t *testing.T) {
	t.Parallel()
	alice := pagetest.SignedIn(t, startServer(t), "alice")
	const limit = 64 << 10
	frame := `{"to":"alice","ref":1,"text":"%s"}` + "\n"
	alice.Write(fmt.Appendf(nil, frame, strings.Repeat("x", limit-len(frame)+2)))
	if o := alice.Next("outcome"); o.Error != "" {
		t.Fatalf("the longest line that fits: %+v", o)
	}
	alice.Write(fmt.Appendf(nil, frame, strings.Repeat("x", limit-len(frame)+3)))
	if status := alice.CloseStatus(); status != tooBig {
		t.Errorf("closed with %d", status)
	}
}

func TestEndOfTheSessionClosesWith4001(t *testing.T) {
	t.Parallel()
	s, url := newTestServer(t)
	later := time.Now().Add(6 * time.Second) // for the handshake, on a busy machine
	alice := pagetest.Dial(t, url, "/ws", s.page.CookieUntil("alice", later).Value)
	alice.Next("hello")
	if status := alice.CloseStatus(); status != expired {
		t.Errorf("closed with %d", status)
	}
}

func TestHandshakeIsRefused(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	other := page.New(page.Config{})
	alice := pagetest.CookieOf(t, server, "alice")
	for name, c := range map[string]struct{ path, cookie, origin string }{
		"without cookie":            {"/ws", "", server},
		"with another key's cookie": {"/ws", other.Cookie("alice").Value, server},
		"from a foreign origin":     {"/ws", alice, "http://evil.example"},
		"without an origin":         {"/ws", alice, ""},
		"as somebody else":          {"/ws?as=bob", alice, server},
		"as nobody":                 {"/ws?as=", alice, server},
	} {
		if status := pagetest.HandshakeStatus(t, server, c.path, c.cookie, c.origin); status != http.StatusForbidden {
			t.Errorf("%s: status %d", name, status)
		}
	}
	for _, path := range []string{"/ws", "/ws?as=alice"} {
		if status := pagetest.HandshakeStatus(t, server, path, alice, server); status != http.StatusSwitchingProtocols {
			t.Errorf("%s as it should be: status %d", path, status)
		}
	}
}

func TestNameIsNotTakenFromTheQuery(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	c := pagetest.Dial(t, server, "/ws?id=bob&name=bob", pagetest.CookieOf(t, server, "alice"))
	if h := c.Next("hello"); h.Name != "alice" {
		t.Errorf("hello is %+v", h)
	}
}
