package cluster

import (
	"testing"
	"time"
)

// TestStoppedProcess: when a process goes on that was stopped, what it waits for has as
// long as it had left, for it may have come. That is so for whoever looks first.
func TestStoppedProcess(t *testing.T) {
	s := serve(t, nil)
	for what, look := range map[string]func(g *ghost){
		"receive": func(g *ghost) { g.sweep(false); g.tick() },
		"steer":   func(g *ghost) { g.tick(); g.sweep(false) },
	} {
		g := haunt(t, s.ClientURL(), "g", nil)
		stopped := time.Now().Add(-6 * time.Second)
		var given []error
		overdue := func() *request {
			return &request{due: stopped.Add(time.Second), since: stopped, batch: [][]byte{{}}, done: func(errs []error) { given = append(given, errs...) }}
		}
		out, queued, other := overdue(), overdue(), &member{heard: stopped.Add(-beat)}
		g.out[1], g.queue, g.members["h"], g.looked = out, []*request{queued}, other, stopped
		look(g)
		look(g)
		if len(given) > 0 || other.gone {
			t.Errorf("%s: %v are given up, and the other node is %+v", what, given, other)
		}
		for _, r := range []*request{out, queued} {
			if left := time.Until(r.due); left < tick || left > time.Second+tick || time.Since(r.since) > 3*time.Second {
				t.Errorf("%s: %v are left, and it is looked for since %v", what, left, time.Since(r.since))
			}
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
