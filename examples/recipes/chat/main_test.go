package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool/examples/recipes/internal/try"
)

func TestMain(m *testing.M) { try.Main(m, main) }

func TestMessagesGoByIdAndComeBackIfNotDelivered(t *testing.T) {
	t.Parallel()
	p := try.Start(t, []string{"-addr", "127.0.0.1:0"})
	url := p.Addr()
	alice, bob := try.Dial(t, url+"/ws", "demo-alice"), try.Dial(t, url+"/ws", "demo-bob")
	for _, c := range []*try.Client{alice, bob} { // until both are in the pool
		c.Send(`{"to":"nobody","text":"hi"}`)
		if got := c.Next(); !strings.Contains(got, `"to":"nobody"`) || !strings.Contains(got, "not connected") {
			t.Errorf("to nobody: %s", got)
		}
	}
	for i := range 100 {
		alice.Send(fmt.Sprintf(`{"from":"eve","to":"bob","text":"hi %d"}`, i))
	}
	for i := range 100 {
		if got, want := bob.Next(), fmt.Sprintf(`{"from":"alice","to":"bob","text":"hi %d"}`, i); got != want {
			t.Fatalf("bob got %s instead of %s", got, want)
		}
	}
	for _, c := range []struct {
		body   string
		header http.Header
		status int
	}{
		{`{"from":"eve","to":"bob","text":"posted"}`, try.Session("demo-alice"), 200},
		{`{"to":"nobody","text":"hi"}`, try.Session("demo-alice"), 503},
		{`{"to":"bob","text":"hi"}`, http.Header{}, 403},
		{`{"to":"bob","text":"hi"}`, http.Header{"Cookie": {"session=demo-alice"}, "Sec-Fetch-Site": {"cross-site"}}, 403},
		{`{`, try.Session("demo-alice"), 403},
	} {
		if status, text := try.Do(t, "POST", url+"/say", c.header, c.body); status != c.status {
			t.Errorf("%s: %d %s", c.body, status, text)
		}
	}
	if got := bob.Next(); got != `{"from":"alice","to":"bob","text":"posted"}` {
		t.Errorf("bob got %s", got)
	}
	bob.Send("hello?")
	if got := bob.Next(); !strings.Contains(got, "that was not a message") {
		t.Errorf("bob got %s", got)
	}
	try.Refused(t, url+"/ws", "demo-alice")
	bob.Close()
	p.Signal()
	alice.GoesAway()
	if code := p.ExitCode(); code != 0 || p.Stderr() != "" {
		t.Errorf("exit code %d, stderr %q", code, p.Stderr())
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	try.AddressInUse(t, "-addr")
}
