package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestLongNamesFit: a name may have 32 characters and no space.
func TestLongNamesFit(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	name := strings.Repeat("W", 32)
	wendy := signedIn(t, s, name)
	alice := signedIn(t, s, "Alice")
	alice.pick(name)
	alice.push("Hello")
	alice.awaitOutcome("Hello", "delivered", "✓ Delivered.")
	wendy.pick("Alice")
	wendy.push("Hello Alice")
	alice.awaitMessage(name, "Hello Alice")
	alice.fits("a long name", "#log", "#composer")
	second := wendy.another("the second tab")
	second.do(chromedp.Navigate(s.url))
	wendy.awaitText("#banner", "is connected as "+name)
	wendy.fits("a long name that was taken over", "#log", "#banner")
	wendy.click("#change")
	second.click("#change")
	alice.awaitText("#count", "People connected: 1")
	alice.push("And now?")
	alice.awaitOutcome("And now?", "failed", name+" is not connected.")
	alice.fits("a long name that is away", "#log", "#composer")
}

// fits fails the test if a part of the page is wider than its place, on phones and on a screen.
func (b *tab) fits(state string, parts ...string) {
	b.t.Helper()
	for _, width := range []int64{320, 390, 844, 1200} {
		b.look(look{"narrow", width, 640, "light"})
		for _, part := range append(parts, "html") {
			if over := eval[int](b, fmt.Sprintf("(e => e.scrollWidth - e.clientWidth)(document.querySelector(%q))", part)); over > 0 {
				b.t.Errorf("%s at %d px: %s is %d px too wide", state, width, part, over)
			}
		}
	}
	b.look(light)
}

// TestLogHasRoomOnALowScreen: the log keeps enough height on a phone held sideways, with the
// keyboard open, and on the lowest screen that WCAG 1.4.10 asks for.
func TestLogHasRoomOnALowScreen(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	newGuests(t, s, "Bob", "Carol", "Dave", "Erin", "Frank")
	alice := signedIn(t, s, "Alice")
	alice.awaitText("#count", "People connected: 6")
	alice.push("Hello all")
	alice.awaitOutcome("Hello all", "delivered", "✓ Sent to everyone connected.")
	for _, size := range [][2]int64{{568, 320}, {320, 300}, {320, 256}, {844, 390}} {
		alice.look(look{"low", size[0], size[1], "light"})
		if height := eval[int](alice, "document.querySelector('#log').clientHeight"); height < 120 {
			t.Errorf("at %v px the log is %d px high", size, height)
		}
		alice.click("#text") // scrolls into view
		alice.await("(b => b.top >= 0 && b.bottom <= innerHeight + 2)(document.querySelector('#text').getBoundingClientRect())")
	}
}
