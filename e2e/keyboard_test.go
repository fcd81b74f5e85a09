package e2e

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// keys types on the keyboard, into whatever has the focus. It does not use chromedp.KeyEvent,
// which sends a character even if the page has consumed the key that makes it.
func (b *tab) keys(keys string, modifiers ...chromedp.Modifier) {
	b.t.Helper()
	for _, r := range keys {
		events := kb.Encode(r)
		down, up := *events[0], *events[len(events)-1]
		if len(events) == 3 {
			down.Text, down.UnmodifiedText = events[1].Text, events[1].UnmodifiedText
		}
		for _, m := range modifiers {
			down.Modifiers |= int64(m)
			up.Modifiers |= int64(m)
		}
		b.do(call(input.DispatchKeyEvent, down), call(input.DispatchKeyEvent, up))
	}
}

// tabTo moves to an element with the Tab key, and expects each stop on the way to show its focus.
func (b *tab) tabTo(selector string, modifiers ...chromedp.Modifier) {
	b.t.Helper()
	for range 30 {
		b.keys(kb.Tab, modifiers...)
		stop := eval[struct {
			There, Visible bool
			HTML           string
		}](b, fmt.Sprintf(`(e => ({
			There: e.matches(%q), HTML: e.outerHTML.slice(0, 100),
			Visible: e === document.body || e.checkVisibility() && getComputedStyle(e).outlineStyle !== "none" && parseFloat(getComputedStyle(e).outlineWidth) >= 2,
		}))(document.activeElement)`, selector))
		if !stop.Visible {
			b.t.Errorf("%s: the focus does not show on %s", b.name, stop.HTML)
		}
		if stop.There {
			return
		}
	}
	b.t.Fatalf("%s: the Tab key does not lead to %s\n%s", b.name, selector, b.page())
}

func TestKeyboardAlone(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	bob := signedIn(t, s, "bob")
	alice := newPerson(t, "alice")
	alice.do(chromedp.Navigate(s.url))
	alice.awaitState("out")
	alice.tabTo("#name")
	alice.keys("alice" + kb.Enter)
	alice.awaitState("connected")
	alice.await("document.activeElement.id === 'text'")

	alice.awaitText("#count", "People connected: 2") // the list comes after the state
	alice.tabTo("#list li:nth-child(3) .person", kb.ModifierShift)
	alice.keys(kb.Enter)
	alice.awaitText("#composer label", "To bob")
	alice.await("document.activeElement.id === 'text'")
	alice.keys("One")
	alice.keys(kb.Enter, kb.ModifierShift)
	alice.keys("two" + kb.Enter)
	bob.awaitMessage("alice", "One\ntwo")
	alice.awaitOutcome("One\ntwo", "delivered", "✓ Delivered.")
	alice.tabTo("#list li:nth-child(3) .person", kb.ModifierShift)
	alice.await("document.activeElement.innerText.includes('bob') && document.activeElement.ariaPressed === 'true'")
	alice.tabTo("#list li:first-child .person", kb.ModifierShift)
	alice.keys(" ")
	alice.awaitText("#composer label", "To everyone")
	alice.await("document.activeElement.id === 'text'")
	alice.keys("Three")
	alice.tabTo("#send")
	alice.keys(kb.Enter)
	bob.awaitMessage("alice to everyone", "Three")

	alice.tabTo("#log", kb.ModifierShift)
	alice.tabTo("#change", kb.ModifierShift)
	alice.keys(kb.Enter)
	alice.awaitState("out")
	alice.await("document.activeElement.id === 'name'")
	bob.awaitText("#count", "People connected: 1")
}
