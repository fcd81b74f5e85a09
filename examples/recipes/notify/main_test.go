package main

import (
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool/examples/recipes/internal/try"
)

func TestMain(m *testing.M) { try.Main(m, main) }

func TestPostReachesTheUserAndTellsTheOutcome(t *testing.T) {
	t.Parallel()
	p := try.Start(t, []string{"-addr", "127.0.0.1:0"}, "SERVICE_KEY=secret")
	url := p.Addr()
	alice := try.Dial(t, url+"/ws", "demo-alice")
	for range 10 {
		try.Await(t, "the delivery", func() bool { // alice is in the pool a moment after her handshake
			status, _ := try.Do(t, "POST", url+"/notify/alice", try.Bearer("secret"), "your order has shipped")
			return status == 204
		})
		if got := alice.Next(); got != "your order has shipped" {
			t.Errorf("alice got %q", got)
		}
	}
	for _, c := range []struct {
		user, key, body string
		status          int
	}{
		{"bob", "secret", "hi", 404},
		{"alice", "wrong", "hi", 401},
		{"alice", "", "hi", 401},
		{"alice", "secret", strings.Repeat("x", 64<<10+1), 413},
	} {
		if status, text := try.Do(t, "POST", url+"/notify/"+c.user, try.Bearer(c.key), c.body); status != c.status {
			t.Errorf("%s with key %q: %d %s", c.user, c.key, status, text)
		}
	}
	try.Refused(t, url+"/ws", "demo-alice")
	p.Signal()
	alice.GoesAway()
	if code := p.ExitCode(); code != 0 || p.Stderr() != "" {
		t.Errorf("exit code %d, stderr %q", code, p.Stderr())
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
