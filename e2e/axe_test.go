package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// A verdict is the result of axe-core for a page.
type verdict struct {
	Violations []struct {
		ID, Help string
		Nodes    []struct {
			HTML           string
			FailureSummary string
		}
	}
	Passes []string
}

// check lets axe-core look for violations of WCAG 2.0, 2.1 and 2.2, levels A and AA, in each
// look. axe-core is injected the way a debugger does it, so the page's content policy stays in
// force and does not apply to it.
func (b *tab) check(state string) {
	b.t.Helper()
	source, err := os.ReadFile(axeFile)
	if err != nil {
		b.t.Fatal(err)
	}
	b.do(chromedp.Evaluate[chromedp.Void]("if (!window.axe) {" + string(source) + "\n}; undefined"))
	night := phone
	night.name, night.scheme = "phone in the dark", dark.scheme
	for _, l := range []look{light, dark, phone, night} {
		b.look(l)
		var v verdict
		answer := eval[string](b, `axe.run(document, {
			runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], resultTypes: ["violations"],
		}).then(r => JSON.stringify({ violations: r.violations, passes: r.passes.map(p => p.id) }))`)
		if err := json.Unmarshal([]byte(answer), &v); err != nil {
			b.t.Fatal(err)
		}
		for _, violation := range v.Violations {
			for _, node := range violation.Nodes {
				b.t.Errorf("%s, %s: %s (%s)\n%s\n%s", state, l.name, violation.Help, violation.ID, node.HTML, node.FailureSummary)
			}
		}
		// Finding no violations means something only if axe-core has really looked.
		for _, rule := range []string{"color-contrast", "html-has-lang", "button-name"} {
			if !strings.Contains(" "+strings.Join(v.Passes, " ")+" ", " "+rule+" ") {
				b.t.Errorf("%s, %s: axe-core did not check %s, only %q", state, l.name, rule, v.Passes)
			}
		}
		// axe-core accepts a placeholder as a name, but a placeholder disappears as one types.
		if bare := eval[[]string](b, `[...document.querySelectorAll("input, select, textarea")]
			.filter(e => e.checkVisibility() && !e.labels.length).map(e => e.outerHTML)`); len(bare) > 0 {
			b.t.Errorf("%s, %s: these have no label: %q", state, l.name, bare)
		}
		if over := eval[int](b, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
			b.t.Errorf("%s, %s: the page is %d px too wide", state, l.name, over)
		}
	}
	b.look(light)
}

func TestPushPageIsAccessible(t *testing.T) {
	need(t, axeFile)
	t.Parallel()
	s := newServer(t)
	alice := newPerson(t, "alice")
	alice.allow("the server responded with a status of 400")
	alice.do(chromedp.Navigate(s.url))
	alice.awaitState("out")
	alice.check("the sign-in page")
	alice.click("#form button")
	alice.awaitText("#problem", "Please enter a name.")
	alice.check("the sign-in page with a problem")
	alice.signIn("alice")
	alice.check("the talk page of one who is alone")

	bob := signedIn(t, s, "bob")
	alice.pick("bob")
	alice.push("Hello Bob")
	alice.awaitOutcome("Hello Bob", "delivered", "✓ Delivered.")
	bob.pick("")
	bob.push("Hello all")
	alice.awaitMessage("bob to everyone", "Hello all")
	bob.click("#change")
	alice.awaitText(".person[aria-pressed=true]", "away")
	alice.push("Still there?")
	alice.awaitOutcome("Still there?", "failed", "✕ Not delivered.")
	alice.check("the talk page")

	second := alice.another("alice's second tab")
	second.do(chromedp.Navigate(s.url))
	alice.awaitText("#banner", "Another tab took over")
	alice.check("the talk page that was taken over")
	alice.click("#action")
	alice.awaitState("connected")
	for _, b := range []*tab{alice, bob, second} {
		b.allow(gone)
	}
	s.stop()
	alice.awaitText("#banner", "The server went away")
	alice.check("the talk page while the server is away")
}

func TestDashboardIsAccessible(t *testing.T) {
	need(t, axeFile)
	t.Parallel()
	s := newServer(t)
	alice := signedIn(t, s, "alice")
	d := dashboard(t, s)
	alice.push("Hello")
	d.await(moves("Messages"))
	d.check("the dashboard")
	d.tabTo("#pause")
	d.keys(" ")
	d.awaitState("paused")
	d.check("the dashboard while it is paused")
	d.keys(" ")
	d.awaitState("live")
	for _, b := range []*tab{alice, d} {
		b.allow(gone)
	}
	s.stop()
	d.awaitState("lost")
	d.check("the dashboard while the server is away")
}
