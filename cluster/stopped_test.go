package cluster

import (
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestStoppedProcess: when a process goes on that was stopped, what it waits for has as
// long as it had left, for it may have come. That is so for whoever looks first.
func TestStoppedProcess(t *testing.T) {
	s := serve(t, nil)
	for what, look := range map[string]func(g *ghost){
		"receive":   func(g *ghost) { g.sweep(false); g.tick() },
		"announcer": func(g *ghost) { g.tick(); g.sweep(false) },
	} {
		g := haunt(t, s.ClientURL(), "g", nil)
		stopped := time.Now().Add(-6 * time.Second)
		var given []error
		overdue := func() *request {
			return &request{due: stopped.Add(time.Second), since: stopped, batch: [][]byte{{}}, done: func(errs []error) { given = append(given, errs...) }}
		}
		out, queued, other := overdue(), overdue(), &member{heard: stopped.Add(-heartbeat)}
		g.out[1], g.queue, g.members["h"], g.looked = out, []*request{queued}, other, stopped
		before := time.Now()
		look(g)
		look(g)
		after := time.Now()
		if len(given) > 0 || other.gone {
			t.Errorf("%s: %v are given up, and the other node is %+v", what, given, other)
		}
		for _, r := range []*request{out, queued} {
			if least, most := r.due.Sub(before), r.due.Sub(after); least < tick || most > time.Second+tick || before.Sub(r.since) > 3*time.Second {
				t.Errorf("%s: %v to %v are left, and it is looked for since %v", what, most, least, before.Sub(r.since))
			}
		}
	}
}

// TestNewAfterAStop: what a process that goes on sends before it looks at its deadlines has
// no more time than others.
func TestNewAfterAStop(t *testing.T) {
	n := bare("n")
	now := time.Now()
	out, queued := &request{heard: now, since: now, due: now.Add(n.timeout)}, &request{due: now.Add(n.timeout)}
	n.out[1], n.queue, n.looked, n.members["h"] = out, []*request{queued}, now.Add(-6*time.Second), &member{heard: now}
	n.resume()
	for what, ahead := range map[string]time.Duration{
		"heard": time.Until(out.heard), "since": time.Until(out.since), "member": time.Until(n.members["h"].heard),
		"due": time.Until(out.due) - n.timeout, "queued": time.Until(queued.due) - n.timeout,
	} {
		if ahead > 0 {
			t.Errorf("%s is %v too late", what, ahead)
		}
	}
}

// TestSlowProcess: deadlines pass also if the process has a processor now and then only.
func TestSlowProcess(t *testing.T) {
	n := bare("n")
	var given error
	n.out[1] = &request{due: time.Now().Add(3 * tick / 2), batch: [][]byte{{}}, done: func(errs []error) { given = errs[0] }}
	for range 2 {
		n.looked = time.Now().Add(-time.Minute)
		n.out[1].due = n.out[1].due.Add(-time.Minute)
		n.sweep(false)
		if given != nil {
			break
		}
	}
	if given != ErrUncertain {
		t.Errorf("given up: %v", given)
	}
}

// TestMailboxAfterUnsent: when NATS goes on that took nothing for too long, what waits in
// a mailbox for it is sent once more, though nothing else happens.
func TestMailboxAfterUnsent(t *testing.T) {
	s := serve(t, nil)
	a := join(t, s.ClientURL(), gcpool.WithMailbox(time.Minute, 1<<20))
	g := haunt(t, s.ClientURL(), "g", nil)
	if err := a.stream.Add("alice", []byte("x")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody has it", func() bool { return a.Stats().Requests == 1 && a.Stats().Waiting == 0 })
	g.serves(name, "alice") // as a node that was here all the time
	outcome := make(chan error, 1)
	unsent := &request{key: key{name, "bob"}, kind: push, batch: [][]byte{{}}, done: func(errs []error) { outcome <- errs[0] }}
	a.mu.Lock()
	a.queue = append(a.queue, unsent) // overdue
	a.inFlight += maxInFlight
	a.Node.open++
	a.mu.Unlock()
	if err := <-outcome; err != errAway {
		t.Errorf("what was not sent is %v", err)
	}
	a.mu.Lock()
	a.inFlight -= maxInFlight
	a.mu.Unlock()
	m, batch := g.asked()
	if len(batch) != 1 || batch[0] != "x" {
		t.Errorf("received %q", batch)
	}
	g.answers(m, outcomes, []byte{0}, "")
	eventually(t, "written", func() bool { return a.stats().Forwarded == 1 })
}
