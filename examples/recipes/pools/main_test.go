package main

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/recipes/internal/try"
)

func TestMain(m *testing.M) { try.Main(m, main) }

// stats returns the figures of the pools: messages, prices.
func stats(t *testing.T, url string) (all []gcpool.Stats) {
	t.Helper()
	_, text := try.Do(t, "GET", url+"/stats", try.Bearer("secret"), "")
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != 2 {
		t.Fatalf("stats are %s: %v", text, err)
	}
	return all
}

func push(t *testing.T, url, to, text string) {
	t.Helper()
	if status, body := try.Do(t, "POST", url+"/push/"+to, try.Bearer("secret"), text); status != 202 {
		t.Fatalf("push to %s: %d %s", to, status, body)
	}
}

func TestPoolsShareUsersAndNothingElse(t *testing.T) {
	t.Parallel()
	p := try.Start(t, []string{"-addr", "127.0.0.1:0"}, "SERVICE_KEY=secret")
	url := p.Addr()
	push(t, url, "messages/alice", "while you were away")
	push(t, url, "prices/alice", "ACME 40") // old news when alice comes
	if all := stats(t, url); all[0].Waiting != 1 || all[1].Waiting != 0 || all[1].NotConnected != 1 {
		t.Errorf("nobody is connected: %+v", all)
	}
	messages, prices := try.Dial(t, url+"/ws/messages", "demo-alice"), try.Dial(t, url+"/ws/prices", "demo-alice")
	if got := messages.Next(); got != "while you were away" {
		t.Errorf("alice got %q", got)
	}
	try.Await(t, "both connections", func() bool { return stats(t, url)[1].Connections == 1 })
	for i := range 10 {
		push(t, url, "messages/alice", fmt.Sprint("message ", i))
		push(t, url, "prices/alice", fmt.Sprint("ACME ", i))
		if m, p := messages.Next(), prices.Next(); m != fmt.Sprint("message ", i) || p != fmt.Sprint("ACME ", i) {
			t.Errorf("alice got %q and %q", m, p)
		}
	}
	for _, path := range []string{"/ws/nothing", "/stats/nothing"} {
		if status, _ := try.Do(t, "GET", url+path, try.Bearer("secret"), ""); status != 404 {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status, _ := try.Do(t, "POST", url+"/push/nothing/alice", try.Bearer("secret"), "hi"); status != 404 {
		t.Errorf("push to an unknown pool: %d", status)
	}
	if status, _ := try.Do(t, "GET", url+"/stats", try.Bearer("guess"), ""); status != 401 {
		t.Errorf("stats for a stranger: %d", status)
	}
	try.Refused(t, url+"/ws/messages", "demo-alice")
	p.Signal()
	messages.GoesAway()
	prices.GoesAway()
	if code := p.ExitCode(); code != 0 || p.Stderr() != "" {
		t.Errorf("exit code %d, stderr %q", code, p.Stderr())
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	try.AddressInUse(t, "-addr")
}
