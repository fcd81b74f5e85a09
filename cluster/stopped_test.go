package cluster

import (
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestStoppedProcess: after a process was stopped, everything that it
// waits for has as much time left as before, because it may have
// arrived in the meantime. This holds whichever goroutine looks first.
func TestStoppedProcess(t *testing.T) {
	s := serve(t, nil)
	for what, look := range map[string]func(g *ghost){
		"receive":   func(g *ghost) { g.sweep(); g.tick() },
		"announcer": func(g *ghost) { g.tick(); g.sweep() },
	} {
		g := haunt(t, s.ClientURL(), "g", nil)
		var given []error
		waits := func() *request {
			return &request{heard: g.now(), since: g.now(), batch: [][]byte{{}}, done: func(errs []error) { given = append(given, errs...) }}
		}
		out, queued, other := waits(), waits(), &member{heard: g.now().Add(-heartbeat), seen: g.now()}
		g.out[1], g.queue, g.members["h"] = out, []*request{queued}, other
		start, began := g.now(), time.Now()
		g.ticked.Store(&reading{began.Add(-6 * time.Second), start})
		look(g)
		look(g)
		if len(given) > 0 || other.gone {
			t.Errorf("%s: given up with %v; the other node is %+v", what, given, other)
		}
		if gone := g.now().Sub(start); gone > 2*tick+time.Since(began) {
			t.Errorf("%s: %v have passed on the node's clock", what, gone)
		}
	}
}

// TestSlowProcess: deadlines pass even if the process gets a processor only now and then.
// Requests that it sends before it checks the deadlines get no extra time.
func TestSlowProcess(t *testing.T) {
	n := bare("n")
	var given error
	n.out[1] = &request{heard: n.ticked.Load().node, batch: [][]byte{{}}, done: func(errs []error) { given = errs[0] }}
	for range n.timeout/(2*tick) + 1 {
		if given != nil {
			t.Error("given up too soon")
		}
		n.ticked.Store(&reading{time.Now().Add(-time.Minute), n.ticked.Load().node})
		n.sweep()
	}
	if given != ErrUncertain {
		t.Errorf("given up: %v", given)
	}
}

// TestMailboxAfterUnsent: a message that NATS did not take for too long waits in the mailbox.
// It must be sent when NATS takes messages again, even if nothing else happens.
func TestMailboxAfterUnsent(t *testing.T) {
	s := serve(t, nil)
	a := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Second)}, gcpool.WithMailbox(time.Minute, 1<<20))
	g := haunt(t, s.ClientURL(), "g", nil)
	g.serves(name, "alice") // like a node that was here all the time
	a.mu.Lock()
	a.inFlight += maxInFlight // the window is full, so nothing leaves
	a.mu.Unlock()
	if err := a.stream.Add("alice", []byte("x")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it was not sent", func() bool { return a.conns.Info("alice").Mailbox > 0 })
	a.mu.Lock()
	a.inFlight -= maxInFlight
	a.mu.Unlock()
	m, batch := g.asked()
	for ; batch[0] == ""; m, batch = g.asked() {
		g.answers(m, outcomes, []byte{0}, "g")
	}
	if len(batch) != 1 || batch[0] != "x" {
		t.Errorf("received %q", batch)
	}
	g.answers(m, outcomes, []byte{0}, "")
	eventually(t, "written", func() bool { return a.stats().Forwarded == 1 })
}
