package main

import (
	"testing"

	"github.com/nulijiabei/gcpool/examples/recipes/internal/try"
)

func TestMain(m *testing.M) { try.Main(m, main) }

// until reads lists up to the one that is expected.
func until(c *try.Client, list string) {
	for c.Next() != list { // Next ends the test after a while
	}
}

func TestEveryoneHasTheListOfWhoIsOnline(t *testing.T) {
	t.Parallel()
	const both, one = `{"online":["alice","bob"]}`, `{"online":["alice"]}`
	p := try.Start(t, []string{"-addr", "127.0.0.1:0"})
	url := p.Addr()
	alice := try.Dial(t, url+"/ws", "demo-alice")
	until(alice, one)
	bob := try.Dial(t, url+"/ws", "demo-bob")
	until(alice, both)
	until(bob, both)
	until(try.Dial(t, url+"/ws", "demo-bob"), both) // a takeover
	if status, list := try.Do(t, "GET", url+"/online", try.Session("demo-alice"), ""); status != 200 || list != both {
		t.Errorf("GET /online: %d %s", status, list)
	}
	if status, _ := try.Do(t, "GET", url+"/online", nil, ""); status != 403 {
		t.Errorf("GET /online as a stranger: %d", status)
	}
	third := try.Dial(t, url+"/ws", "demo-bob")
	until(third, both)
	third.Close()
	until(alice, one)
	try.Refused(t, url+"/ws", "demo-alice")
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
