package e2e

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A tab is one tab of the browser. A warning or an error that its page writes to the console
// fails the test, including a violation of the content policy.
type tab struct {
	t    *testing.T
	name string // for messages
	ctx  context.Context

	mu       sync.Mutex
	allowed  []*regexp.Regexp
	said     []string
	requests []request
}

// A request is a request that the page has made, timed by the browser's clock.
type request struct {
	url string
	at  time.Duration
}

// newPerson opens a tab in a private window, which shares no session.
func newPerson(t *testing.T, name string) *tab {
	t.Helper()
	return newTab(t, name, browser, chromedp.WithNewBrowserContext())
}

// another opens one more tab in the window of b, as the same person.
func (b *tab) another(name string) *tab {
	b.t.Helper()
	return newTab(b.t, name, b.ctx)
}

func newTab(t *testing.T, name string, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{t: t, name: name}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(b.listen))...)
	b.ctx = ctx
	t.Cleanup(func() {
		b.quiet()
		cancel()
	})
	// Not with a deadline, because the context of the first call decides how long the tab lives.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	b.do(call(network.Enable, network.EnableParams{}))
	b.look(light)
	return b
}

// allow lets the page write to the console what matches the pattern, from now on.
func (b *tab) allow(pattern string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed = append(b.allowed, regexp.MustCompile(pattern))
}

// listen runs while the browser's messages are being read, so it only records them.
func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	line := ""
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, request{e.Request.URL, time.Duration(float64(e.Timestamp) * float64(time.Second))})
	case *runtime.EventExceptionThrown:
		line = "exception: " + e.ExceptionDetails.Text
		if thrown := e.ExceptionDetails.Exception; thrown != nil {
			line += " " + thrown.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			line = string(e.Type) + ":"
			for _, arg := range e.Args {
				line += " " + string(arg.Value) + arg.Description
			}
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			line = fmt.Sprintf("%s, of %s: %s %s", e.Entry.Level, e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	}
	if line == "" {
		return
	}
	for _, pattern := range b.allowed {
		if pattern.MatchString(line) {
			return
		}
	}
	b.said = append(b.said, line)
}

// quiet fails the test if the page has written something to the console.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.said {
		b.t.Errorf("%s: the console has %s", b.name, line)
	}
	b.said = nil
}

// asked returns the page's requests whose URL ends with suffix.
func (b *tab) asked(suffix string) (matching []request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		if strings.HasSuffix(r.url, suffix) {
			matching = append(matching, r)
		}
	}
	return matching
}

// awaitAsked waits until there are n such requests.
func (b *tab) awaitAsked(suffix string, n int) []request {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for len(b.asked(suffix)) < n {
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not within %v: %d requests for %s\n%s", b.name, patience, n, suffix, b.page())
		}
		time.Sleep(20 * time.Millisecond)
	}
	return b.asked(suffix)
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%s: %v\n%s", b.name, err, b.page())
	}
}

// eval returns the value of an expression in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %.200s: %v", b.name, expression, err)
	}
	return value
}

// await waits until an expression holds. It does not use chromedp.Poll, which compiles the
// expression in the page, and the page's policy forbids that.
func (b *tab) await(condition string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		// A page that is still loading may not have what the condition asks for.
		holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+condition+")", chromedp.EvalIgnoreExceptions))
		if err == nil && holds {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			b.t.Fatalf("%s: not within %v: %.300s (%v)\n%s", b.name, patience, condition, err, b.page())
		}
	}
}

// page returns what a person would see, for the message of a failing test.
func (b *tab) page() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.dataset.state + "\n" + document.body.innerText.replace(/(.{300}).*/g, "$1…")`))
	if err != nil {
		return "and cannot read what the page shows: " + err.Error()
	}
	return text
}

// awaitText waits until a visible element contains a text.
func (b *tab) awaitText(selector, text string) {
	b.t.Helper()
	b.await(fmt.Sprintf("(e => e.checkVisibility() && e.innerText.includes(%q))(document.querySelector(%q))", text, selector))
}

func (b *tab) awaitState(state string) {
	b.t.Helper()
	b.await(fmt.Sprintf("document.body.dataset.state === %q", state))
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// A look is the way a person has set up the browser.
type look struct {
	name          string
	width, height int64
	scheme        string
}

var (
	light = look{"light", 1200, 800, "light"}
	dark  = look{"dark", 1200, 800, "dark"}
	phone = look{"phone", 390, 844, "light"}
)

// look sets the browser's look. Nothing moves on its own, so what is seen stays.
func (b *tab) look(l look) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(l.width, l.height), call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: l.scheme},
			{Name: "prefers-reduced-motion", Value: "reduce"},
		},
	}))
}
