package cluster

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

// TestFence: a number is taken once, and never after a higher one. The window knows which
// numbers were not taken for as long as it remembers them.
func TestFence(t *testing.T) {
	w := new(window)
	taken := map[uint64]bool{}
	for _, step := range []struct {
		number uint64
		take   bool // otherwise refuse all numbers up to this one
		want   bool
	}{
		{1, true, true}, {1, true, false}, {3, true, true}, {2, true, false}, {5, false, false}, {4, true, false},
		{5, true, false}, {6, true, true}, {4, false, false}, {7, true, true}, {size + 6, true, true}, {5*size + 9, true, true},
		{5*size + 8, true, false}, {6*size + 8, true, true},
	} {
		if !step.take {
			w.refuse(step.number)
		} else if got := w.take(step.number); got != step.want {
			t.Errorf("take(%d) is %v", step.number, got)
		} else if got {
			taken[step.number] = true
		}
		for number := max(1, w.last-min(w.last, size+10)); number < w.last+3; number++ {
			want := !taken[number] && number <= w.last && number+size > w.last
			if got := w.never(number); got != want {
				t.Fatalf("after %d: never(%d) is %v", step.number, number, got)
			}
		}
	}
}

// TestOutOfTurn: a request that arrives after later ones, or once it has expired, is not
// written, and its sender learns that. A request that arrives twice is written once.
func TestOutOfTurn(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	u := a.dial("alice")
	eventually(t, "announced", func() bool { return a.Stats().IDs == 1 })
	g.sent = 9
	answers := func(what string, want ...byte) {
		t.Helper()
		if kind, codes, node := g.answered(); kind != outcomes || !bytes.Equal(codes, want) || node != "" {
			t.Errorf("%s: answer %c %v %q", what, kind, codes, node)
		}
	}
	later := ahead(time.Minute)
	g.sendsNumber(5, later, a, push, "alice", "5")
	answers("in turn", 0)
	g.sendsNumber(4, later, a, push, "alice", "4")
	answers("after a later one")
	g.sendsNumber(5, later, a, push, "alice", "5")
	g.sendsNumber(6, ahead(-time.Second), a, push, "alice", "6")
	answers("expired")
	g.sendsNumber(6, later, a, push, "alice", "6")
	answers("expired before")
	g.sendsNumber(7, later, a, push, "alice", "7")
	answers("in turn once more", 0)
	for _, want := range []string{"5", "7"} {
		if got := u.read(); got != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
}

// TestProbed: when a node is asked about requests, it says which are in progress or answered.
// Of the others it says that it does not have them, and whether their id is connected here;
// after that it must not take them.
func TestProbed(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	a.conns.Add("slow", pipe(t))
	eventually(t, "announced", func() bool { return a.Stats().IDs == 1 })
	g.sent = 9
	g.sendsNumber(2, ahead(time.Minute), a, where, "slow", "")
	if kind, codes, name := g.answered(); kind != outcomes || len(codes) != 1 || name != a.Name() {
		t.Errorf("answer %c", kind)
	}
	g.sendsNumber(3, ahead(time.Minute), a, push, "slow", "x")
	eventually(t, "in progress", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.deliveries) == 1
	})
	b := append(appendString(nil, g.id), probe)
	for number, id := range []string{"", "gone", "slow", "slow", "slow"} {
		if id != "" {
			b = appendString(appendString(append(b, byte(number)), name), id)
		}
	}
	g.publish(g.subject("d", a.id), b)
	heard := map[string]bool{}
	eventually(t, "all are answered", func() bool {
		kind, _, node := g.answered()
		heard[string(kind)+node] = true
		return len(heard) == 4
	})
	if !heard[string(inProgress)] || !heard[string(taken)] || !heard[string(absent)] || !heard[string(absent)+a.id] {
		t.Errorf("answers %v", heard)
	}
	g.sendsNumber(4, ahead(time.Minute), a, push, "slow", "late")
	for kind := byte(inProgress); kind == inProgress; {
		var codes []byte
		if kind, codes, _ = g.answered(); kind != inProgress && (kind != outcomes || len(codes) > 0) {
			t.Errorf("answer %c %v to a request that was not taken", kind, codes)
		}
	}
	before := a.Stats().Malformed
	g.publish(g.subject("d", a.id), append(b, 9))
	eventually(t, "malformed", func() bool { return a.Stats().Malformed == before+1 })
}

// TestFarewellKeepsTheWindow: a request is asked about, not found, and
// sent again, while the first copy is in a server that was stuck. The
// node must refuse the first copy even if its sender has left since.
func TestFarewellKeepsTheWindow(t *testing.T) {
	s := serve(t, nil)
	a, g := join(t, s.ClientURL()), haunt(t, s.ClientURL(), "g", nil)
	u := a.dial("alice")
	eventually(t, "announced", func() bool { return a.Stats().IDs == 1 })
	g.beats()
	g.sent = 9
	b := binary.AppendUvarint(append(appendString(nil, g.id), probe), 1)
	g.publish(g.subject("d", a.id), appendString(appendString(b, name), "alice"))
	if kind, _, _ := g.answered(); kind != absent {
		t.Fatalf("answer %c", kind)
	}
	g.sendsNumber(2, ahead(0)+5e6, a, push, "alice", "x") // sent again
	if kind, codes, _ := g.answered(); kind != outcomes || len(codes) != 1 {
		t.Fatalf("answer %c %v", kind, codes)
	}
	g.parts(a, 0)
	g.sendsNumber(1, ahead(0)+5e6, a, push, "alice", "x") // the late first copy
	if kind, codes, _ := g.answered(); g.number != 1 || kind != outcomes || len(codes) > 0 {
		t.Errorf("answer %c %v to request %d, which was refused before", kind, codes, g.number)
	}
	a.stream.Add("alice", []byte("y"))
	for _, want := range []string{"x", "y"} {
		if got := u.read(); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
}
