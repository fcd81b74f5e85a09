package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// gone matches what the browser itself writes to the console when a server is away.
const gone = `net::ERR_|WebSocket connection to .* failed`

// call makes an action of a command whose answer does not matter.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, command, params)
		return err
	})
}

// signedIn returns a tab of a person who has signed in.
func signedIn(t *testing.T, s *server, name string) *tab {
	t.Helper()
	b := newPerson(t, name)
	b.do(chromedp.Navigate(s.url))
	b.signIn(name)
	return b
}

func (b *tab) signIn(name string) {
	b.t.Helper()
	b.awaitState("out")
	b.do(chromedp.SendKeys(chromedp.CSS("#name"), name))
	b.click("#form button")
	b.awaitState("connected")
	b.awaitText("#who", name)
}

// pick chooses the recipient of the next message from the list, "" for everyone.
func (b *tab) pick(name string) {
	b.t.Helper()
	person := fmt.Sprintf("[...document.querySelectorAll('.person')].find(p => p.querySelector('bdi').textContent === %q)", name)
	if name == "" {
		person = "document.querySelector('.person')"
	}
	b.await(person)
	b.do(chromedp.Click(chromedp.JSPath(person)))
	b.await(person + ".ariaPressed === 'true'")
}

// push sends a message to the recipient that was picked.
func (b *tab) push(text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS("#text"), text))
	b.click("#send")
	b.await("document.querySelector('#text').value === ''")
}

// awaitOutcome waits until the last message sent has the given outcome.
func (b *tab) awaitOutcome(text, fate, outcome string) {
	b.t.Helper()
	b.await(fmt.Sprintf(`(e => e.querySelector(".text").innerText === %q && e.dataset.fate === %q && e.querySelector(".fate").innerText.includes(%q))`+
		`([...document.querySelectorAll(".entry.out")].at(-1))`, text, fate, outcome))
}

// awaitMessage waits until the last message received is this one.
func (b *tab) awaitMessage(from, text string) {
	b.t.Helper()
	b.await(fmt.Sprintf(`(e => e.querySelector("bdi").innerText === %q && e.querySelector(".text").innerText === %q)`+
		`([...document.querySelectorAll(".entry.in")].at(-1))`, from, text))
}

// entries returns how many messages a tab shows that were received ("in") or sent ("out").
func (b *tab) entries(kind string) int {
	b.t.Helper()
	return eval[int](b, fmt.Sprintf("document.querySelectorAll('.entry.%s').length", kind))
}
