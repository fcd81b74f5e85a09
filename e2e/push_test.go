package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

func TestPushFromOneTabToAnother(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	alice := newPerson(t, "alice")
	alice.do(chromedp.Navigate(s.url))
	alice.awaitText("#signin", "Who are you?")
	alice.allow("the server responded with a status of 400")
	alice.click("#form button")
	alice.awaitText("#problem", "Please enter a name.")
	alice.signIn("alice")
	alice.awaitText("#count", "People connected: 1")

	// A second tab of the same browser is the same person, until it signs in as another.
	bob := alice.another("bob")
	bob.do(chromedp.Navigate(s.url))
	bob.awaitText("#who", "alice")
	bob.awaitState("connected")
	bob.click("#change")
	bob.signIn("bob")
	alice.awaitState("taken")
	alice.click("#action")
	alice.awaitState("connected")
	alice.awaitText("#who", "alice")
	alice.awaitText("#count", "People connected: 2")

	// A tab opened for another person has no name until someone signs
	// in there, and takes nothing over.
	carol := alice.another("carol")
	carol.do(chromedp.Navigate(s.url + "/?new"))
	carol.signIn("carol")
	carol.do(chromedp.Reload())
	carol.awaitText("#who", "carol")
	alice.awaitText("#count", "People connected: 3")
	carol.click("#change")
	bob.awaitText("#count", "People connected: 2")

	alice.pick("bob")
	alice.push("Hello <b>Bob</b>, 你好")
	bob.awaitMessage("alice", "Hello <b>Bob</b>, 你好")
	alice.awaitOutcome("Hello <b>Bob</b>, 你好", "delivered", "✓ Delivered.")
	bob.pick("alice")
	bob.push("Hello Alice")
	alice.awaitMessage("bob", "Hello Alice")
	bob.awaitOutcome("Hello Alice", "delivered", "✓ Delivered.")
	if got := alice.entries("in") + bob.entries("in"); got != 2 {
		t.Errorf("%d messages are shown as received, instead of 2", got)
	}
}

func TestPushToAllReachesEverybodyOnce(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	alice, bob, carol := signedIn(t, s, "alice"), signedIn(t, s, "bob"), signedIn(t, s, "carol")
	alice.awaitText("#count", "People connected: 3")
	alice.pick("")
	alice.push("Lunch is ready")
	alice.awaitOutcome("Lunch is ready", "delivered", "✓ Sent to everyone connected.")
	// The next message shows that no more copies are coming.
	for _, b := range []*tab{bob, carol} {
		b.awaitMessage("alice to everyone", "Lunch is ready")
		alice.pick(b.name)
		alice.push("Are you coming?")
		b.awaitMessage("alice", "Are you coming?")
		alice.awaitOutcome("Are you coming?", "delivered", "✓ Delivered.")
		if got := b.entries("in"); got != 2 {
			t.Errorf("%s got %d messages instead of 2", b.name, got)
		}
	}
	if got := alice.entries("in"); got != 0 {
		t.Errorf("alice got %d messages of her own", got)
	}
}

func TestUndeliveredSaysWhy(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	alice, bob := signedIn(t, s, "alice"), signedIn(t, s, "bob")
	alice.pick("bob")
	alice.push("Are you there?")
	alice.awaitOutcome("Are you there?", "delivered", "✓ Delivered.")
	bob.click("#change")
	alice.awaitText(".person[aria-pressed=true]", "away")
	alice.push("And now?")
	alice.awaitOutcome("And now?", "failed", "✕ Not delivered. bob is not connected.")

	long := strings.Repeat("0123456789", 7000)
	alice.click("#text")
	alice.do(call(input.InsertText, input.InsertTextParams{Text: long})) // as when pasted
	alice.awaitText("#hint", "the server takes lines of up to 64 KiB")
	alice.click("#send")
	alice.awaitOutcome(long, "failed", "✕ Not delivered. The line was longer than 64 KiB.")
	alice.awaitText("#banner", "That line was too long")
	alice.awaitState("connected")
	alice.click("#action")
	if got := eval[int](alice, "document.querySelector('#text').value.length"); got != len(long) {
		t.Errorf("the field has %d characters of the text", got)
	}
}

func TestTakeoverBySecondTab(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	bob := signedIn(t, s, "bob")
	first := signedIn(t, s, "alice")
	second := first.another("alice's second tab")
	second.do(chromedp.Navigate(s.url))
	second.awaitState("connected")
	second.awaitText("#who", "alice")
	first.awaitText("#banner", "Another tab took over")
	first.awaitText("#banner", "A newer tab or window is connected as alice, and a name has one connection.")
	first.awaitText("#status", "Taken over")
	if !eval[bool](first, "document.querySelector('#composer').hidden") {
		t.Error("the first tab could still send")
	}
	first.await("document.querySelectorAll('.person:disabled').length === 3") // the tab still shows who was there
	bob.pick("alice")
	bob.push("Which one?")
	second.awaitMessage("bob", "Which one?")
	bob.awaitOutcome("Which one?", "delivered", "✓ Delivered.")

	first.click("#action") // "Use here"
	first.awaitState("connected")
	second.awaitText("#banner", "Another tab took over")
	bob.push("And now?")
	first.awaitMessage("bob", "And now?")
	if got := first.entries("in") + second.entries("in"); got != 2 {
		t.Errorf("2 messages are shown %d times", got)
	}
	bob.awaitText("#count", "People connected: 2")
}

func TestServerRestart(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	alice, bob := signedIn(t, s, "alice"), signedIn(t, s, "bob")
	for _, b := range []*tab{alice, bob} {
		b.allow(gone)
	}
	alice.pick("bob")
	before := len(alice.asked("/me"))
	s.stop()
	for _, b := range []*tab{alice, bob} {
		b.awaitText("#banner", "The server went away")
		b.awaitText("#status", "Server away")
	}
	alice.awaitText("#detail", "Next try in")
	alice.do(chromedp.SendKeys(chromedp.CSS("#text"), "Written meanwhile"))
	alice.keys("\r")
	alice.await("document.querySelector('#news').innerText.includes('Your message stays in the field.')")

	// The page waits for 1 s, 2 s and 4 s, minus up to half of each at random.
	tries := alice.awaitAsked("/me", before+3)[before:]
	first, second := tries[1].at-tries[0].at, tries[2].at-tries[1].at
	if first < 900*time.Millisecond || second < 1800*time.Millisecond {
		t.Errorf("the pauses between its tries were %v and then %v, which is no backoff", first, second)
	}

	s.start()
	for _, b := range []*tab{alice, bob} {
		b.awaitState("connected")
		b.await("document.querySelector('#banner').hidden")
		b.awaitText("#log", "The server is back.")
		b.awaitText("#log", "you were signed in again")
	}
	alice.awaitText("#count", "People connected: 2")
	alice.await("document.querySelector('#text').value === 'Written meanwhile'")
	alice.click("#send")
	bob.awaitMessage("alice", "Written meanwhile")
	alice.awaitOutcome("Written meanwhile", "delivered", "✓ Delivered.")
}

// TestPageComesBackWithTheNetwork: a laptop that wakes up must not wait for the next try.
func TestPageComesBackWithTheNetwork(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	alice := signedIn(t, s, "alice")
	alice.allow(gone)
	alice.do(chromedp.Evaluate[chromedp.Void]("Math.random = () => 1; undefined")) // makes it wait for 1, 2, 4, 8 and 16 s
	before := len(alice.asked("/me"))
	s.stop()
	alice.awaitState("away")
	alice.awaitAsked("/me", before+4)
	s.start()
	for _, offline := range []bool{true, false} {
		alice.do(call(network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: offline, DownloadThroughput: -1, UploadThroughput: -1}))
	}
	alice.awaitState("connected")
	tries := alice.asked("/me")[before:]
	// A try that reaches the server just as it starts may be the last.
	if n := len(tries); n > 4 && tries[4].at-tries[3].at > 12*time.Second {
		t.Errorf("the page came back %v after its last try, so it did not notice the network", tries[4].at-tries[3].at)
	}
}

// TestFrozenPageSwallowsNothing: a page that the browser has frozen leaves, so a push to it
// does not count as delivered. It comes back when it is seen again.
func TestFrozenPageSwallowsNothing(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	alice, bob := signedIn(t, s, "alice"), signedIn(t, s, "bob")
	bob.pick("alice")
	freeze := func(state page.SetWebLifecycleStateState) {
		alice.do(call(page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state}))
	}
	freeze(page.SetWebLifecycleStateStateFrozen)
	bob.awaitText(".person[aria-pressed=true]", "away")
	bob.push("Are you there?")
	bob.awaitOutcome("Are you there?", "failed", "✕ Not delivered. alice is not connected.")
	freeze(page.SetWebLifecycleStateStateActive)
	alice.awaitState("away")
	time.Sleep(3 * time.Second) // long enough for it to have come back
	if got := alice.page(); !strings.Contains(got, "Server away") {
		t.Errorf("a page that is not visible has come back:\n%s", got)
	}
	// There is no command that makes the page visible again.
	eval[bool](alice, `Object.defineProperty(document, "hidden", { value: false }) && document.dispatchEvent(new Event("visibilitychange"))`)
	alice.awaitState("connected")
	bob.push("And now?")
	alice.awaitMessage("bob", "And now?")
}
