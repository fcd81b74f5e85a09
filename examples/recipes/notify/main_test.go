package main

import (
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool/examples/recipes/internal/try"
)

func TestMain(m *testing.M) { try.Main(m, main) }

func start(t *testing.T, args ...string) *try.Process {
	t.Helper()
	return try.Start(t, append([]string{"-addr", "127.0.0.1:0"}, args...), "SERVICE_KEY=secret")
}

// outcome posts text to a user and returns what the answer says.
func outcome(t *testing.T, url, user, text string) string {
	t.Helper()
	status, answer := try.Do(t, "POST", url+"/notify/"+user, try.Bearer("secret"), text)
	if status != 202 {
		t.Errorf("status %d: %s", status, answer)
	}
	return answer
}

func TestPostReachesTheUserAndTellsTheOutcome(t *testing.T) {
	t.Parallel()
	p := start(t, "-keep", "0")
	url := p.Addr()
	alice := try.Dial(t, url+"/ws", "demo-alice")
	for range 10 {
		try.Await(t, "the delivery", func() bool { // alice is in the pool a moment after her handshake
			return outcome(t, url, "alice", "your order has shipped") == `{"outcome":"delivered"}`
		})
		if got := alice.Next(); got != "your order has shipped" {
			t.Errorf("alice got %q", got)
		}
	}
	if got := outcome(t, url, "bob", "hi"); got != `{"outcome":"not connected"}` {
		t.Errorf("for a user who is away: %s", got)
	}
	for _, c := range []struct {
		key, body string
		status    int
	}{
		{"wrong", "hi", 401},
		{"", "hi", 401},
		{"secret", strings.Repeat("x", 64<<10+1), 413},
	} {
		if status, text := try.Do(t, "POST", url+"/notify/alice", try.Bearer(c.key), c.body); status != c.status {
			t.Errorf("with key %q: %d %s", c.key, status, text)
		}
	}
	try.Refused(t, url+"/ws", "demo-alice")
	p.Signal()
	alice.GoesAway()
	if code := p.ExitCode(); code != 0 || p.Stderr() != "" {
		t.Errorf("exit code %d, stderr %q", code, p.Stderr())
	}
}

func TestMessageIsKeptForAUserWhoIsAway(t *testing.T) {
	t.Parallel()
	p := start(t)
	url := p.Addr()
	for _, user := range []string{"alice", "bob"} {
		if got := outcome(t, url, user, "hi "+user); got != `{"outcome":"kept"}` {
			t.Errorf("for a user who is away: %s", got)
		}
	}
	if got := try.Dial(t, url+"/ws", "demo-alice").Next(); got != "hi alice" {
		t.Errorf("alice got %q", got)
	}
	p.Signal()
	if got := p.Line(); got != `notify: "bob" did not get "hi bob": gcpool: pool closed` {
		t.Errorf("output is %q", got)
	}
}

func TestNobodyMayPostWithoutAKey(t *testing.T) {
	t.Parallel()
	url := try.Start(t, []string{"-addr", "127.0.0.1:0"}, "SERVICE_KEY=").Addr()
	if status, _ := try.Do(t, "POST", url+"/notify/bob", try.Bearer(""), "hi"); status != 401 {
		t.Errorf("status %d", status)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	try.AddressInUse(t, "-addr")
}
