package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/nulijiabei/gcpool"
	operators "github.com/nulijiabei/gcpool/dashboard"
)

// figures is the request that the dashboard makes again and again.
const figures = "/debug/gcpool/?format=json"

// dashboard opens the dashboard in a tab of its own.
func dashboard(t *testing.T, s *server) *tab {
	t.Helper()
	b := newPerson(t, "dashboard")
	b.do(chromedp.Navigate(s.url + "/debug/gcpool/"))
	b.awaitState("live")
	b.awaitText("#history", "Since") // the charts appear after a second
	return b
}

// cell returns an expression for a series's present value in the table of a chart.
func cell(chart, series string) string {
	return fmt.Sprintf("[...document.querySelectorAll('.chart table[aria-label=%q] tbody tr')].find(tr => tr.querySelector('th').textContent === %q).cells[1].textContent", chart, series)
}

// line returns an expression for the line of a chart's first series.
func line(chart string) string {
	return fmt.Sprintf("document.querySelector('.chart:has(table[aria-label=%q]) path.series.s0').getAttribute('d')", chart)
}

// moves returns an expression that says whether a line has more than one height.
func moves(chart string) string {
	return fmt.Sprintf("(ys => Math.max(...ys) - Math.min(...ys) > 1)(%s.match(/[\\d.]+ [\\d.]+/g).map(at => Number(at.split(' ')[1])))", line(chart))
}

func TestDashboardMovesWhileMessagesArePushed(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	alice, bob := signedIn(t, s, "alice"), signedIn(t, s, "bob")
	alice.pick("bob")
	alice.push("Ready?")
	alice.awaitOutcome("Ready?", "delivered", "✓ Delivered.")
	d := dashboard(t, s)
	quiet := func() {
		d.awaitText("#history", "Since")
		d.awaitText("#history", "when you opened this page")
		d.await(cell("Messages", "accepted") + " === '0'") // earlier messages do not count now
	}
	quiet()
	d.await(cell("Connections", "connected") + " === '2'")
	d.await(cell("Bytes waiting", "fullest outbox") + " === '0 B'")
	for end := time.Now().Add(patience); eval[bool](d, moves("Messages")); quiet() {
		if time.Now().After(end) {
			t.Fatal("a line moves before anything was pushed")
		}
		d.do(chromedp.Reload()) // while a list of the people connected was on its way
	}
	before := eval[string](d, line("Connections"))
	for i := range 5 {
		alice.push(fmt.Sprint("Message ", i))
	}
	d.await(moves("Messages"))
	d.await(moves("Payload written"))
	d.await(line("Connections") + " !== " + fmt.Sprintf("%q", before))
	d.await(cell("Messages", "accepted") + " === '0'") // the peak moves on
	d.await(moves("Messages"))
	bob.click("#change")
	d.await(cell("Connections", "connected") + " === '1'")
	d.await("document.querySelector('#pools tbody').rows[0].cells[1].textContent === '1'")
}

// TestDashboardOpensWithWhatItKnows: first the table, and no charts before they have a line.
func TestDashboardOpensWithWhatItKnows(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	signedIn(t, s, "alice")
	d := newPerson(t, "dashboard")
	d.do(chromedp.Navigate(s.url + "/debug/gcpool/"))
	d.await("document.querySelector('#pools tbody').rows[0].cells[1].textContent === '1'")
	d.await("samples.length === 1 && document.querySelector('#live').hidden || samples.length > 1")
	d.await("samples.length > 1 && document.querySelector('#live').checkVisibility()")
	d.await("document.querySelector('.chart:has(table[aria-label=\"From Add to written\"]) svg').textContent.includes('No figures yet')")
}

func TestDashboardPausesAndResumes(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	d := dashboard(t, s)
	d.awaitAsked(figures, 3)
	d.tabTo("#pause")
	d.keys(" ")
	d.awaitState("paused")
	d.awaitText("#state", "Paused")
	d.await("document.querySelector('#pause').ariaPressed === 'true'")
	// Wait three times as long as between two requests, by the page's own clock.
	paused := len(d.asked(figures))
	d.await(fmt.Sprintf("performance.now() > %f", eval[float64](d, "performance.now()")+3000))
	if got := len(d.asked(figures)); got != paused {
		t.Errorf("it asked %d times while it was paused", got-paused)
	}
	still := eval[string](d, line("Connections"))
	d.keys(kb.Enter)
	d.awaitState("live")
	d.await(line("Connections") + " !== " + fmt.Sprintf("%q", still))
	d.awaitAsked(figures, paused+2)
}

func TestDashboardSaysThatServerIsLost(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	d := dashboard(t, s)
	d.awaitAsked(figures, 2)
	d.allow(gone)
	s.stop()
	d.awaitState("lost")
	d.awaitText("#state", "The server does not answer")
	s.start()
	d.awaitState("live")
	d.awaitText("#state", "Live")
	d.awaitText("#history", "when the server started again")
}

// TestDashboardForgetsThePoolsOfTheLastProcess: a process that has started again may have no
// pools yet, so the table must drop those of the last one.
func TestDashboardForgetsThePoolsOfTheLastProcess(t *testing.T) {
	need(t)
	t.Parallel()
	old := gcpool.NewPool()
	if err := old.Register("old"); err != nil {
		t.Fatal(err)
	}
	var now atomic.Pointer[http.Handler]
	serve := func(pool *gcpool.Pool) {
		h := operators.Handler(pool)
		now.Store(&h)
	}
	serve(old)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*now.Load()).ServeHTTP(w, r) }))
	t.Cleanup(web.Close)
	d := newPerson(t, "dashboard")
	d.do(chromedp.Navigate(web.URL))
	d.awaitState("live")
	d.awaitText("#pools tbody", "old")
	serve(gcpool.NewPool())
	d.awaitText("#history", "when the server started again")
	d.awaitText("#pools tbody", "No pool is registered yet.")
	if eval[bool](d, "document.querySelector('#pools').innerText.includes('old')") {
		t.Error("the table still has the pool of the last process")
	}
}

// TestDashboardShowsTheMailbox: the table shows how much the mailbox holds, in red if it is
// almost full, and a dash if there is none. The page as first loaded shows the same.
func TestDashboardShowsTheMailbox(t *testing.T) {
	need(t)
	t.Parallel()
	pool := gcpool.NewPool()
	for name, bytes := range map[string]int{"a none": 0, "b almost full": 100, "c half full": 200} {
		if err := pool.Register(name, gcpool.WithMailbox(time.Hour, bytes)); err != nil {
			t.Fatal(err)
		}
	}
	pool.Start()
	for _, name := range []string{"b almost full", "c half full"} {
		if err := pool.GetStream(name).Add("alice", make([]byte, 90)); err != nil {
			t.Fatal(err)
		}
	}
	web := httptest.NewServer(operators.Handler(pool))
	t.Cleanup(web.Close)
	d := newPerson(t, "dashboard")
	d.do(chromedp.Navigate(web.URL))
	const column = "[...document.querySelectorAll('#pools tr')].map(row => row.cells[8].textContent).join()"
	d.await(column + " === 'Mailbox,–,90 B,90 B'")
	d.awaitState("live")
	d.await("[...document.querySelectorAll('#pools .alarm')].map(cell => cell.parentElement.cells[0].textContent).join() === 'b almost full'")
	d.await(column + " === 'Mailbox,–,90 B,90 B'")
	d.await(cell("Bytes waiting", "mailbox") + " === '180 B'")
}

// TestDashboardBehindABalancer: two processes in turn must not look like one that restarts.
func TestDashboardBehindABalancer(t *testing.T) {
	need(t)
	t.Parallel()
	servers := []http.Handler{operators.Handler(gcpool.NewPool()), operators.Handler(gcpool.NewPool())}
	var answers atomic.Uint64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		servers[answers.Add(1)%2].ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	d := newPerson(t, "dashboard")
	d.do(chromedp.Navigate(web.URL))
	d.await("because.includes('by its own address')")
}

// TestDashboardWithThePasswordInItsAddress: the browser refuses to fetch URLs relative to an
// address with a password, so the dashboard must avoid them.
func TestDashboardWithThePasswordInItsAddress(t *testing.T) {
	need(t)
	t.Parallel()
	handler := operators.Handler(gcpool.NewPool())
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, _ := r.BasicAuth(); name != "operator" || password != "secret" {
			w.Header().Set("WWW-Authenticate", "Basic")
			http.Error(w, "not an operator", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	d := newPerson(t, "dashboard")
	d.do(chromedp.Navigate(strings.Replace(web.URL, "//", "//operator:secret@", 1)))
	d.awaitState("live")
	d.await("document.title === `${location.host} – gcpool`")
}

// TestPagesFitANarrowPhone: the pages fit 320 px, the narrowest width that WCAG 1.4.10 asks
// for. The figures are as wide as the dashboard can make them.
func TestPagesFitANarrowPhone(t *testing.T) {
	need(t)
	t.Parallel()
	s := newServer(t)
	alice := signedIn(t, s, "Alice")
	d := dashboard(t, s)
	d.tabTo("#pause")
	d.keys(" ")
	d.awaitState("paused")
	for _, width := range []int64{320, 360, 390} {
		for _, b := range []*tab{alice, d} {
			b.look(look{"narrow", width, 568, "light"})
			over := eval[int](b, `document.querySelectorAll(".chart tbody td").forEach(td => td.textContent = "1023 KiB"),
				document.documentElement.scrollWidth - innerWidth`)
			if over > 0 {
				t.Errorf("%s at %d px is %d px too wide", b.name, width, over)
			}
		}
		if eval[bool](alice, "(e => e.scrollWidth > e.clientWidth)(document.querySelector('#who'))") {
			t.Errorf("at %d px Alice does not see her name", width)
		}
	}
}

// TestDashboardAsksOnceAtATime: Pause and Resume while an answer is on its way must not start a
// second series of requests.
func TestDashboardAsksOnceAtATime(t *testing.T) {
	need(t)
	t.Parallel()
	d := dashboard(t, newServer(t))
	eval[bool](d, `(ask => { window.fetch = async (...args) => {
		await new Promise(done => setTimeout(done, 500));
		return ask(...args);
	}; return true; })(window.fetch)`)
	for range 20 {
		d.click("#pause")
	}
	eval[bool](d, "new Promise(done => setTimeout(done, 700, true))") // by now the clicks' requests have been sent
	before := len(d.asked(figures))
	asked := d.awaitAsked(figures, before+5)[before:]
	for i, next := range asked[1:] { // after an answer, a second passes, and then 500 ms
		if gap := next.at - asked[i].at; gap < 1400*time.Millisecond {
			t.Errorf("%v passed between two requests", gap)
		}
	}
}

// TestDashboardKeepsTheSelection: a user may be copying the name of a pool.
func TestDashboardKeepsTheSelection(t *testing.T) {
	need(t)
	t.Parallel()
	d := dashboard(t, newServer(t))
	name := eval[string](d, "getSelection().selectAllChildren(document.querySelector('#pools tbody th')), String(getSelection())")
	d.awaitAsked(figures, len(d.asked(figures))+3)
	if got := eval[string](d, "String(getSelection())"); name == "" || got != name {
		t.Errorf("%q was selected, and is %q", name, got)
	}
}

// TestDashboardSaysToSignInAgain: an expired session may lead to a page, not to figures.
func TestDashboardSaysToSignInAgain(t *testing.T) {
	need(t)
	t.Parallel()
	d := dashboard(t, newServer(t))
	eval[bool](d, `!!(window.fetch = async () => new Response("<!doctype html>", { headers: { "Content-Type": "text/html" } }))`)
	d.awaitText("#state", "Sign in again: reload this page")
}
