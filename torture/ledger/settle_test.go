package ledger

import (
	"fmt"
	"slices"
	"testing"

	"github.com/nulijiabei/gcpool"
)

// long takes producer 1's stream to "a" through n connections. Of four messages on each
// connection, two are received, one is lost with a cut, and one is reported. wrong may break a
// promise in the last round.
func long(w *world, n int, wrong func(c *Conn, i int)) {
	for round := range n {
		c := w.connect("a")
		i := len(w.sent)
		w.send("a", 4)
		c.Receive(slices.Clone(w.sent[i]))
		w.report(i+1, gcpool.ErrSlow)
		c.Receive(slices.Clone(w.sent[i+2]))
		if round == n-1 && wrong != nil {
			wrong(c, i)
		}
		c.End(false)
	}
}

func TestTheLedgerStaysSmall(t *testing.T) {
	w := newWorld()
	w.patience = 0
	sizes := make([]int, 3)
	for i := range sizes {
		long(w, 5000, nil)
		sizes[i] = w.Totals().Kept
		w.sent = nil
	}
	if err := w.Check(); err != nil {
		t.Fatal(err)
	}
	if sizes[2] > sizes[0] || sizes[2] > 100<<10 {
		t.Errorf("after every 5,000 connections the ledger holds %d bytes", sizes)
	}
	got := w.Totals()
	if got.Accepted != 60_000 || got.Received != 30_000 || got.Undelivered != 15_000 {
		t.Errorf("%+v", got)
	}
}

func TestWhatMayChangeIsNotForgotten(t *testing.T) {
	w := newWorld()
	long(w, 1000, nil)
	w.report(3, gcpool.ErrSlow) // the first message that was lost
	if err := w.Check(); err != nil {
		t.Error(err)
	}
}

// TestBreachesAreFoundAmongForgottenMessages: breaches must be found before, when and after
// their messages are forgotten.
func TestBreachesAreFoundAmongForgottenMessages(t *testing.T) {
	for want, wrong := range map[string]func(w *world, c *Conn, i int){
		"received long after": func(w *world, c *Conn, _ int) { c.Receive(w.sent[0]) },
		"reported long after": func(w *world, c *Conn, _ int) { w.report(1, gcpool.ErrSlow) },
		"neither received nor reported": func(w *world, c *Conn, i int) {
			w.send("a", 2)
			c.Receive(w.sent[i+5]) // i+3 and i+4 are missing before this one
		},
		"torn on connection": func(w *world, _ *Conn, i int) {
			w.send("a", 1)
			c := w.connect("a")
			c.Torn(w.sent[i+4][:60])
			c.End(true)
		},
	} {
		for _, more := range []int{0, 1, 1000} {
			t.Run(fmt.Sprint(want, " ", more), func(t *testing.T) {
				w := newWorld()
				w.patience = 0
				long(w, 1000, func(c *Conn, i int) { wrong(w, c, i) })
				long(w, more, nil)
				expect(t, w.Check(), want)
			})
		}
	}
}
