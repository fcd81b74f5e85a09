package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// page returns an announcement of ids, as in the answers to a listing.
func (g *ghost) page(after, upTo byte, ids ...string) []byte {
	b := append(append(appendString(nil, g.id), joined), after, upTo)
	for _, id := range ids {
		b = append(appendString(appendString(b, name), id), 1)
	}
	return b
}

// listed returns the next listing request from a node.
func (g *ghost) listed() *nats.Msg {
	g.t.Helper()
	for {
		m := g.next(g.hears)
		if d := (decoder{left: m.Data}); d.string() != "" && d.number() == listing {
			if pool := d.string(); pool != name || d.bad || d.more() {
				g.t.Errorf("asked for %q", m.Data)
			}
			return m
		}
	}
}

var errEndless = errors.New("it does not end by itself")

// gather collects what Online yields, until it ends. A slow answer delays the end.
func (s *site) gather() (ids *[]string, errs *[]error, ended chan struct{}) {
	ids, errs, ended = new([]string), new([]error), make(chan struct{})
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	go func() {
		defer close(ended)
		defer cancel()
		for id, err := range s.Online(ctx, name) {
			if err != nil {
				*errs = append(*errs, err)
			} else {
				*ids = append(*ids, id)
			}
		}
		if ctx.Err() != nil {
			*errs = append(*errs, errEndless)
		}
	}()
	return ids, errs, ended
}

// TestOnlineWithoutAnAnswer: a node that does not answer, or answers only in part, yields an
// error in place of its ids. The ids of other nodes are still listed.
func TestOnlineWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	a := joinAs(t, s.ClientURL(), []Option{WithTimeout(3 * time.Second)}) // long enough for the nodes that answer
	b := join(t, s.ClientURL())
	b.dial("bob")
	g, h := haunt(t, s.ClientURL(), "g", nil), bare("h")
	g.beats()
	a.meets(g)
	eventually(t, "nodes know each other", func() bool { return a.Stats().Nodes == 2 })
	for what, row := range map[string]struct {
		pages     [][]byte
		want      error
		malformed uint64
	}{
		"complete":        {[][]byte{g.page(0, 3, "x"), g.page(3, 7, "y"), g.page(7, 7)}, nil, 0},
		"a page missed":   {[][]byte{g.page(0, 3, "x"), g.page(5, 7, "y"), g.page(7, 7)}, errPages, 1},
		"cut":             {[][]byte{append(g.page(0, 1, "x"), 9)}, errPages, 1},
		"another's":       {[][]byte{append(append(appendString(nil, h.id), joined), 0, 0)}, errPages, 1},
		"no announcement": {[][]byte{append(append(appendString(nil, g.id), missing), 0, 0)}, errPages, 1},
		"nothing":         {nil, context.DeadlineExceeded, 0},
		"half":            {[][]byte{g.page(0, 1, "x")}, context.DeadlineExceeded, 0},
	} {
		before := a.Stats().Malformed
		g.beats() // or the ghost would be forgotten
		a.meets(g)
		ids, errs, ended := a.gather()
		m := g.listed()
		for _, p := range row.pages {
			m.Respond(p)
		}
		<-ended
		if row.want == nil && len(*ids) != 3 || row.want != nil && (len(*errs) != 1 || !errors.Is((*errs)[0], row.want)) {
			t.Errorf("%s: ids %q, errors %v", what, *ids, *errs)
		}
		if n := a.Stats().Malformed - before; !slices.Contains(*ids, "bob") || n != row.malformed {
			t.Errorf("%s: ids %q, %d malformed", what, *ids, n)
		}
	}
}

// TestOnlineOfASlowNode: a node has WithTimeout for its whole list, not for each page.
func TestOnlineOfASlowNode(t *testing.T) {
	s := serve(t, nil)
	a := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Second)})
	g := haunt(t, s.ClientURL(), "g", nil)
	g.beats()
	a.meets(g)
	_, errs, ended := a.gather()
	m, start := g.listed(), time.Now()
	for number := byte(0); ; number++ {
		m.Respond(g.page(number, number+1, "x"))
		select {
		case <-ended:
			if len(*errs) != 1 || !errors.Is((*errs)[0], context.DeadlineExceeded) {
				t.Errorf("errors %v", *errs)
			}
			return
		case <-time.After(200 * time.Millisecond):
			if time.Since(start) > 20*time.Second {
				t.Fatal("Online goes on for 20 s")
			}
		}
	}
}

// TestOnlineWithASmallPayload: pages fit into max_payload.
func TestOnlineWithASmallPayload(t *testing.T) {
	s := serve(t, func(o *server.Options) { o.MaxPayload = 2048 })
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	var want []string
	for i := range 300 {
		want = append(want, fmt.Sprint("somebody-", i))
		if err := b.conns.Add(want[i], pipe(t)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nodes know each other", func() bool { return a.Stats().Nodes == 1 })
	ids, errs, ended := a.gather()
	<-ended
	slices.Sort(*ids)
	slices.Sort(want)
	if len(*errs) > 0 || !slices.Equal(*ids, want) {
		t.Errorf("%d ids of %d, errors %v", len(*ids), len(want), *errs)
	}
}

// TestOnlineOfANodeThatHasGone: a node that has gone is left out. The
// end of the context, or of the loop, ends Online.
func TestOnlineOfANodeThatHasGone(t *testing.T) {
	s := serve(t, nil)
	a := join(t, s.ClientURL())
	for _, called := range []string{"g", "h"} {
		g := haunt(t, s.ClientURL(), called, nil)
		g.beats()
		a.meets(g)
		g.nc.Close()
	}
	eventually(t, "they have gone", func() bool { return s.NumClients() == 1 })
	for id, err := range a.Online(t.Context(), name) {
		t.Errorf("Online yields %q, %v although no node is left", id, err)
	}
	for _, called := range []string{"i", "j"} { // these do not answer
		g := haunt(t, s.ClientURL(), called, nil)
		g.beats()
		a.meets(g)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	for _, err := range a.Online(ctx, name) {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("Online ends with %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d errors after the context had ended", n)
	}
}

// TestListIsForNodes: the list of ids goes only to the node that asks for it, not to any
// subject that a request names.
func TestListIsForNodes(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	a.dial("alice")
	got := make(chan *nats.Msg, 10)
	for _, subject := range []string{"secret", g.subject("p", "*", "x")} {
		g.nc.ChanSubscribe(subject, got)
	}
	ask := func(node, pool string) []byte {
		return appendString(append(appendString(nil, node), listing), pool)
	}
	star, cut := strings.Repeat("*", 22), ask(g.id, name)
	for reply, data := range map[string][]byte{
		"secret":                  ask(g.id, name),
		"":                        ask(g.id, name),
		g.subject("p", star, "x"): ask(star, name),
		g.subject("p", g.id, "x"): cut[:len(cut)-1],
	} {
		if err := g.nc.PublishMsg(&nats.Msg{Subject: g.subject("s", a.id), Reply: reply, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "malformed", func() bool { return a.Stats().Malformed == 4 })
	for pool, want := range map[string][]string{"other": nil, name: {"alice"}} {
		g.nc.PublishRequest(g.subject("s", a.id), g.subject("p", g.id, "x"), ask(g.id, pool))
		for last := false; !last; {
			m := g.next(got)
			var ids []string
			for id := range g.announced(m) {
				ids = append(ids, id)
			}
			if last = len(ids) == 0; m.Subject != g.subject("p", g.id, "x") || !last && !slices.Equal(ids, want) {
				t.Errorf("%q on %q", m.Data, m.Subject)
			}
		}
	}
}

// TestOnlineWithAnIDLargerThanAPayload: an id larger than a payload
// hides no other id, and its own node lists it.
func TestOnlineWithAnIDLargerThanAPayload(t *testing.T) {
	s := serve(t, func(o *server.Options) { o.MaxPayload = 2048 })
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	most := 2048 - len(b.id) - 2 - len(name) - 5*binary.MaxVarintLen64
	want := []string{"alice", "bob", strings.Repeat("c", most)}
	for _, id := range append(want, strings.Repeat("d", most+1), strings.Repeat("e", 1<<20)) {
		if err := b.conns.Add(id, pipe(t)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nodes know each other", func() bool { return a.Stats().Nodes == 1 })
	ids, errs, ended := a.gather()
	<-ended
	slices.Sort(*ids)
	if len(*errs) > 0 || !slices.Equal(*ids, want) {
		t.Errorf("%d ids, want %d; errors %v", len(*ids), len(want), *errs)
	}
	ids, _, ended = b.gather()
	<-ended
	if len(*ids) != len(want)+2 {
		t.Errorf("the id's own node lists %d ids", len(*ids))
	}
}

// TestListOfHugeIDs: an id that fills a whole page has a page of its own, and no page is empty.
func TestListOfHugeIDs(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	for _, called := range []string{"a", "b", "c"} {
		newPipe(t, a, strings.Repeat(called, piece+1))
	}
	got := make(chan *nats.Msg, 10)
	g.nc.ChanSubscribe(g.subject("p", g.id, "x"), got)
	b := appendString(append(appendString(nil, g.id), listing), name)
	g.nc.PublishRequest(g.subject("s", a.id), g.subject("p", g.id, "x"), b)
	for number := range uint64(3) {
		d := decoder{left: g.next(got).Data}
		d.string()
		d.number()
		after, upTo, _, id := d.number(), d.number(), d.string(), d.string()
		if d.number(); after != number || upTo != number+1 || len(id) != piece+1 || d.bad || d.more() {
			t.Errorf("page %d up to %d, id of %d bytes", after, upTo, len(id))
		}
	}
}
