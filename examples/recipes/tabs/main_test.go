package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool/examples/recipes/internal/try"
)

func TestMain(m *testing.M) { try.Main(m, main) }

// awaitTabs pushes to a user until so many tabs have got it.
func awaitTabs(t *testing.T, url, user string, tabs int) {
	t.Helper()
	want := fmt.Sprintf("delivered to %d of %d tabs", tabs, tabs)
	try.Await(t, want, func() bool {
		_, answer := try.Do(t, "POST", url+"/push/"+user, try.Bearer("secret"), "here?")
		return answer == want
	})
}

// await reads until a message comes.
func await(c *try.Client, want string) {
	for c.Next() != want {
	}
}

func TestPushReachesAllTabsOfAUser(t *testing.T) {
	t.Parallel()
	url := try.Start(t, []string{"-addr", "127.0.0.1:0"}, "SERVICE_KEY=secret").Addr()
	awaitTabs(t, url, "alice", 0)
	one, two := try.Dial(t, url+"/ws?tab=1", "demo-alice"), try.Dial(t, url+"/ws?tab=2", "demo-alice")
	bob := try.Dial(t, url+"/ws?tab=1", "demo-bob")
	awaitTabs(t, url, "alice", 2)
	awaitTabs(t, url, "bob", 1)
	again := try.Dial(t, url+"/ws?tab=1", "demo-alice") // comes back before the server knows that it has gone
	if status := one.CloseStatus(); status != 4500 {
		t.Errorf("the old connection is closed with %d", status)
	}
	awaitTabs(t, url, "alice", 2)
	try.Do(t, "POST", url+"/push/alice", try.Bearer("secret"), "lunch?")
	await(again, "lunch?")
	await(two, "lunch?")
	two.Close()
	awaitTabs(t, url, "alice", 1)
	try.Do(t, "POST", url+"/push/bob", try.Bearer("secret"), "and you?")
	await(bob, "and you?")

	for i := range tabsMax - 1 { // and "again"
		try.Dial(t, fmt.Sprint(url, "/ws?tab=more", i), "demo-alice")
	}
	awaitTabs(t, url, "alice", tabsMax)
	for _, tab := range []string{"", strings.Repeat("x", nameMax+1), "one-too-many"} {
		if status := try.Dial(t, url+"/ws?tab="+tab, "demo-alice").CloseStatus(); status != 1000 {
			t.Errorf("tab %.20q is closed with %d", tab, status)
		}
	}
	if status, _ := try.Do(t, "POST", url+"/push/alice", try.Bearer("guess"), "hi"); status != 401 {
		t.Errorf("a push of a stranger: status %d", status)
	}
	try.Refused(t, url+"/ws?tab=1", "demo-alice")
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	try.AddressInUse(t, "-addr")
}
