package cluster

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

var alice = key{name, "alice"}

// TestSearchEnds: nodes keep saying that an id is at the other one, or that it has moved. In
// the end the id must count as not connected, and the search must not keep NATS busy.
func TestSearchEnds(t *testing.T) {
	for what, names := range map[string][2]string{
		"moved on":       {"", ""},
		"with the other": {strings.Repeat("h", 22), strings.Repeat("g", 22)},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil)
			a := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Second)})
			g, h := haunt(t, s.ClientURL(), "g", nil), haunt(t, s.ClientURL(), "h", nil)
			g.serves(name, "alice")
			start := time.Now()
			asked := make(chan error, 1)
			go func() {
				_, err := a.Where(t.Context(), name, "alice")
				asked <- err
			}()
			pushed := a.background("alice", "x")
			ended := func(err error) {
				if !errors.Is(err, gcpool.ErrNotConnected) || errors.Is(err, gcpool.ErrMoved) || time.Since(start) < time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			}
			for left := 2; left > 0; {
				select {
				case m := <-g.asks:
					g.answers(m, outcomes, nil, names[0])
				case m := <-h.asks:
					h.answers(m, outcomes, nil, names[1])
				case err := <-pushed:
					ended(err)
					left--
				case err := <-asked:
					ended(err)
					left--
				case <-time.After(20 * time.Second):
					t.Fatal("the search does not end")
				}
			}
			if n := a.Stats().Requests; names[0] == "" && n > 2*uint64(time.Since(start)/retryDelay+1) {
				t.Errorf("%d requests, with no delay between them", n)
			}
		})
	}
}

// TestSearchEndsWhileOthersAsk: each push looks for its id for WithTimeout, even if other calls
// keep asking where the id is.
func TestSearchEndsWhileOthersAsk(t *testing.T) {
	s := serve(t, nil)
	a := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Second)})
	g := haunt(t, s.ClientURL(), "g", nil)
	g.serves(name, "alice")
	again := time.NewTicker(300 * time.Millisecond)
	defer again.Stop()
	var asking sync.WaitGroup
	defer asking.Wait()
	for range 2 {
		pushed, start, end := a.background("alice", "x"), time.Now(), time.After(20*time.Second)
		for searches := true; searches; {
			select {
			case m := <-g.asks:
				g.answers(m, outcomes, nil, "")
			case <-again.C:
				asking.Go(func() { a.Where(t.Context(), name, "alice") })
			case err := <-pushed:
				if d := time.Since(start); !errors.Is(err, gcpool.ErrNotConnected) || d < time.Second {
					t.Errorf("%v after %v", err, d)
				}
				searches = false
			case <-end:
				t.Fatal("the search goes on for 20 s")
			}
		}
	}
}

// TestRedirect: if a node did not write a request and names another node, the request goes
// there. If the name makes no sense, the search begins anew.
func TestRedirect(t *testing.T) {
	s := serve(t, nil)
	a, g, h := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil), haunt(t, s.ClientURL(), "h", nil)
	g.serves(name, "alice")
	type step struct {
		by        *ghost
		name, now string // what the node says, and where the request goes next
	}
	direct, anew := func(g *ghost) string { return g.subject("d", g.id) }, g.subjectOf(alice)
	for _, steps := range [][]step{
		{{g, h.id, direct(h)}, {h, g.id, direct(g)}},
		{{g, g.id, direct(g)}, {g, g.id, anew}},
		{{g, a.id, anew}},
		{{g, "", anew}},
		{{g, h.id, direct(h)}, {h, "", anew}},
	} {
		before := a.Stats().Requests
		outcome := a.background("alice", "x")
		want := anew
		for _, step := range append(steps, step{by: g}) {
			m, batch := step.by.asked()
			if m.Subject != want || len(batch) != 1 || batch[0] != "x" {
				t.Errorf("%q went to %q, want %q", batch, m.Subject, want)
			}
			if want = step.now; want != "" {
				step.by.answers(m, outcomes, nil, step.name)
			} else {
				step.by.answers(m, outcomes, []byte{reason(gcpool.ErrSlow)}, "")
			}
		}
		if err := <-outcome; !errors.Is(err, gcpool.ErrSlow) {
			t.Errorf("Deliver: %v", err)
		}
		if n := a.sent() - before; n != uint64(len(steps)+1) {
			t.Errorf("%d requests in %d steps", n, len(steps)+1)
		}
		a.mu.Lock() // so that the next push must search
		clear(a.hints[0])
		clear(a.hints[1])
		a.mu.Unlock()
	}
}

// TestPartIsRedirected: part of a batch was written. The rest goes to where the id is, once.
func TestPartIsRedirected(t *testing.T) {
	s := serve(t, nil)
	a, g, h := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil), haunt(t, s.ClientURL(), "h", nil)
	a.remembers()
	g.serves(name, "alice")
	first := a.background("alice", "0")
	m, _ := g.asked()
	for _, data := range []string{"1", "2", "3"} {
		a.stream.Add("alice", []byte(data))
	}
	g.answers(m, outcomes, []byte{0}, "")
	if err := <-first; err != nil {
		t.Errorf("Deliver: %v", err)
	}
	m, batch := g.asked()
	if m.Subject != g.subject("d", g.id) || strings.Join(batch, "") != "123" {
		t.Fatalf("%q went to %q", batch, m.Subject)
	}
	g.answers(m, outcomes, []byte{0}, h.id)
	if m, batch = h.asked(); strings.Join(batch, "") != "23" {
		t.Fatalf("%q to the next node", batch)
	}
	h.answers(m, outcomes, []byte{0, 0}, "")
	eventually(t, "all have outcomes", func() bool { return a.stats().Forwarded == 4 })
}

// TestPartHasItsOutcomeAtOnce: the written part of a batch has its
// outcome at once, before the rest has been delivered.
func TestPartHasItsOutcomeAtOnce(t *testing.T) {
	s := serve(t, nil)
	a, g := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Minute)}), haunt(t, s.ClientURL(), "g", nil)
	g.serves(name, "alice")
	first := a.background("alice", "0")
	m, _ := g.asked()
	written := make(chan error, 1)
	if err := a.stream.AddFunc("alice", []byte("1"), func(err error) { written <- err }); err != nil {
		t.Fatal(err)
	}
	a.stream.Add("alice", []byte("2"))
	g.answers(m, outcomes, []byte{0}, "")
	if err := <-first; err != nil {
		t.Errorf("Deliver: %v", err)
	}
	m, batch := g.asked()
	if strings.Join(batch, "") != "12" {
		t.Fatalf("%q were sent together", batch)
	}
	g.answers(m, outcomes, []byte{0}, "")
	select {
	case err := <-written:
		if err != nil {
			t.Errorf("message 1: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("message 1 has no outcome while message 2 is still looking for the id")
	}
	if m, batch = g.asked(); strings.Join(batch, "") != "2" {
		t.Errorf("%q are left", batch)
	}
	g.answers(m, outcomes, []byte{0}, "")
	eventually(t, "all have outcomes", func() bool { return a.stats().Forwarded == 3 })
}

// TestLeaveEndsASearch: a node that leaves stops looking for an id.
func TestLeaveEndsASearch(t *testing.T) {
	s := serve(t, nil)
	a, g := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Minute)}), haunt(t, s.ClientURL(), "g", nil)
	g.serves(name, "alice")
	pushed, left := a.background("alice", "x"), make(chan error, 1)
	m, _ := g.asked()
	g.answers(m, outcomes, nil, "") // alice has just left
	m, _ = g.asked()
	go func() { left <- a.Leave(t.Context()) }()
	eventually(t, "it leaves", a.gone.Load)
	for end := time.After(20 * time.Second); ; {
		g.answers(m, outcomes, nil, "")
		select {
		case err := <-pushed:
			if !errors.Is(err, gcpool.ErrNotConnected) {
				t.Errorf("Deliver: %v", err)
			}
			if err := <-left; err != nil {
				t.Errorf("Leave: %v", err)
			}
			return
		case <-end:
			t.Fatal("the search goes on")
		case m = <-g.asks:
		}
	}
}

// TestFollowsAnEvictedUser: the node that a user has left knows for a while where the user is,
// whether the user was evicted or had already gone. It tells other nodes that push or ask, and
// its own pushes go straight to that place.
func TestFollowsAnEvictedUser(t *testing.T) {
	for what, gone := range map[string]bool{"evicted": false, "gone before": true} {
		t.Run(what, func(t *testing.T) {
			s := serve(t, nil)
			a, g, h := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil), haunt(t, s.ClientURL(), "h", nil)
			eventually(t, "it says where she is, within a second", func() bool {
				a.dial("alice")
				eventually(t, "she is announced", func() bool { return a.Stats().IDs == 1 })
				if gone {
					a.conns.Del("alice")
					eventually(t, "she has left", func() bool { return a.Stats().IDs == 0 })
				}
				a.mu.Lock()
				version := a.clock.at(time.Now()) + 1
				a.hints[0][alice] = h.id // where alice was before she came
				a.mu.Unlock()
				g.takes("alice", version)
				eventually(t, "it was heard", func() bool {
					a.mu.Lock()
					defer a.mu.Unlock()
					at, _ := a.hintLocked(alice)
					return a.ids.Load() == 0 && at == g.id
				})
				return h.sentOn(a, push, g.id) && h.sentOn(a, where, g.id) && a.pushesTo(g)
			})
			outcome := a.background("alice", "x")
			m, _ := g.asked()
			g.answers(m, outcomes, nil, "") // alice has left
			if err := <-outcome; !errors.Is(err, gcpool.ErrNotConnected) || len(g.asks) > 0 {
				t.Errorf("Deliver: %v, %d more requests to where she was", err, len(g.asks))
			}
		})
	}
}

// sentOn reports whether a node that does not have alice says that she is at node to.
func (g *ghost) sentOn(s *site, kind byte, to string) bool {
	g.t.Helper()
	g.sends(s, kind, "alice", "x")
	answer, codes, node := g.answered()
	return answer == outcomes && len(codes) == 0 && node == to
}

// pushesTo reports whether a push to alice goes straight to a node.
func (s *site) pushesTo(g *ghost) bool {
	outcome := s.background("alice", "x")
	select {
	case m := <-g.asks:
		g.answers(m, outcomes, []byte{0}, "")
		return <-outcome == nil && m.Subject == g.subject("d", g.id)
	case <-outcome:
		return false
	}
}

// TestBackAndGone: a push to a user who came back and left again must
// not go to where the user was in between.
func TestBackAndGone(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	a.dial("alice")
	g.takes("alice", g.version(g.all, "alice")+1)
	eventually(t, "evicted", func() bool { return a.Stats().IDs == 0 && a.conns.Len() == 0 })
	a.dial("alice")
	eventually(t, "back", func() bool { return a.Stats().IDs == 1 })
	a.conns.Del("alice")
	eventually(t, "gone", func() bool { return a.Stats().IDs == 0 })
	if err := a.stream.Deliver(t.Context(), "alice", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver: %v", err)
	}
	if len(g.asks) > 0 {
		t.Error("the push went to where alice was in between")
	}
}

// TestHomes: a push to an id goes straight to the node that answered for the id last.
func TestHomes(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	g.serves(name, "alice")
	answer := func(to string) bool {
		outcome := a.background("alice", "x")
		m, _ := g.asked()
		g.answers(m, outcomes, []byte{0}, "")
		if err := <-outcome; err != nil {
			t.Fatal(err)
		}
		return m.Subject == to
	}
	eventually(t, "straight to it", func() bool {
		answer(g.subjectOf(alice))
		return answer(g.subject("d", g.id))
	})
	eventually(t, "straight to it a second later", func() bool {
		answer(g.subjectOf(alice))
		a.mu.Lock()
		a.rotated = time.Time{}
		a.mu.Unlock()
		eventually(t, "a second has passed", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.hints[0][alice] == ""
		})
		return answer(g.subject("d", g.id))
	})
}

// TestHomeIsCorrected: a push to an id goes to the node that has announced it since, not to the
// one that answered last, which may hang.
func TestHomeIsCorrected(t *testing.T) {
	g := haunt(t, serve(t, nil).ClientURL(), "g", gcpool.NewPool())
	bob, carol, dave := key{name, "bob"}, key{name, "carol"}, key{name, "dave"}
	g.entries[dave] = &entry{key: dave, version: 1} // this one is older
	g.hints = [2]map[key]string{{alice: "hung"}, {bob: "hung"}}
	for _, k := range []key{alice, bob, carol, dave} {
		g.elsewhere(k, "well", ahead(0))
	}
	for k, want := range map[key]string{alice: "well", bob: "well", carol: "", dave: "well"} {
		r := &request{key: k, kind: push}
		if g.enqueue(r); r.node != want {
			t.Errorf("%q goes to %q", k.id, r.node)
		}
	}
}

// TestHomeThatDied: if the node of an id has died, the id is looked for again.
func TestHomeThatDied(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	b.dial("alice")
	eventually(t, "announced", func() bool { return b.Stats().IDs == 1 && b.nc.Flush() == nil })
	b.knownTo(a)
	for what, reach := range map[string]func() error{
		"Deliver": func() error { return a.stream.Deliver(t.Context(), "alice", []byte("x")) },
		"Where": func() error {
			_, err := a.Where(t.Context(), name, "alice")
			return err
		},
	} {
		a.mu.Lock()
		a.hints = [2]map[key]string{{}, {alice: strings.Repeat("g", 22)}}
		a.mu.Unlock()
		before := a.sent()
		if err := reach(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if n := a.Stats().Requests - before; n > 2 {
			t.Errorf("%s: %d requests, though no node was there", what, n)
		}
	}
}

// TestNotSentBackToWhereSheWas: an id has moved to this node, which still waits for the outcome
// of a request that it sent to the id's previous node. It must not send others there.
func TestNotSentBackToWhereSheWas(t *testing.T) {
	s := serve(t, nil)
	a := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Minute)})
	g, h := haunt(t, s.ClientURL(), "g", nil), haunt(t, s.ClientURL(), "h", nil)
	g.serves(name, "alice")
	first, second := a.background("alice", "x"), (<-chan error)(nil)
	m, _ := g.asked()
	g.answers(m, outcomes, []byte{0}, "")
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	second = a.background("alice", "y")
	m, _ = g.asked()
	a.dial("alice")
	eventually(t, "announced", func() bool { return a.Stats().IDs == 1 })
	h.sends(a, push, "alice", "z")
	if kind, codes, node := h.answered(); kind != outcomes || len(codes) > 0 || node != "" {
		t.Errorf("answer %c %v, naming node %q", kind, codes, node)
	}
	g.answers(m, outcomes, []byte{0}, "")
	if err := <-second; err != nil {
		t.Error(err)
	}
}

// TestPlacesAreForgotten: a node keeps nothing about ids that have
// left, ids elsewhere, or ids that were looked for.
func TestPlacesAreForgotten(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	a.dial("alice")
	g.takes("alice", g.version(g.all, "alice")+1)
	a.dial("carol")
	eventually(t, "evicted", func() bool { return a.Stats().IDs == 1 })
	a.conns.Del("carol")
	g.serves(name, "bob")
	outcome := a.background("bob", "x")
	m, _ := g.asked()
	g.answers(m, outcomes, nil, "") // bob is just leaving
	m, _ = g.asked()
	g.answers(m, outcomes, []byte{0}, "")
	if err := <-outcome; err != nil {
		t.Errorf("Deliver: %v", err)
	}
	g.takes("bob", ahead(0))
	g.takes("dave", ahead(0))
	eventually(t, "all were heard of", func() bool { return a.Stats().IDs == 0 && len(a.control) == 0 })
	eventually(t, "nothing stays", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.hints[0])+len(a.hints[1])+len(a.dirty)+len(a.out) == 0
	})
}
