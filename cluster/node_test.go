package cluster

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestForward: a push reaches the node where the id is connected, in order, and
// its outcome comes back.
func TestForward(t *testing.T) {
	s := serve(t, nil)
	a, b := joinAs(t, s.ClientURL(), []Option{WithTimeout(time.Minute)}), join(t, s.ClientURL())
	u := b.dial("alice")
	b.known("alice", a)
	for i := range 1000 {
		if err := a.stream.Add("alice", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		if got := u.read(); got != fmt.Sprint(i) {
			t.Fatalf("received %q, want %d", got, i)
		}
	}
	if err := a.stream.Deliver(t.Context(), "alice", []byte("x")); err != nil {
		t.Error(err)
	}
	start := time.Now()
	if err := a.stream.Deliver(t.Context(), "nobody", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver to nobody: %v", err)
	}
	if d := time.Since(start); d > 10*time.Second { // it would be a minute if it waited for an answer
		t.Errorf("it took %v", d)
	}
	if st := a.stats(); st.Forwarded != 1001 {
		t.Errorf("forwarded %d", st.Forwarded)
	}
}

// TestMove: the newest connection wins, wherever it is, and no message is lost.
func TestMove(t *testing.T) {
	s := serve(t, nil)
	sites := []*site{join(t, s.ClientURL()), join(t, s.ClientURL()), join(t, s.ClientURL())}
	var last *user
	for i := range 10 {
		at := sites[i%3]
		u := at.dial("alice")
		if last != nil {
			last.ends()
		}
		at.known("alice", sites...)
		for j, from := range sites {
			want := fmt.Sprint(i, " from ", j)
			if err := from.stream.Deliver(t.Context(), "alice", []byte(want)); err != nil {
				t.Fatal(err)
			}
			if got := u.read(); got != want {
				t.Errorf("received %q, want %q", got, want)
			}
		}
		last = u
	}
}

// TestTwoAtOnce: nodes to which an id connects at the same time agree on one survivor.
func TestTwoAtOnce(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	for i := range 50 {
		id := fmt.Sprint("user", i)
		var wg sync.WaitGroup
		for _, at := range []*site{a, b} {
			wg.Go(func() { at.open(id, "") })
		}
		wg.Wait()
		eventually(t, "one survivor", func() bool {
			return a.added(key{name, id}).IsZero() != b.added(key{name, id}).IsZero()
		})
	}
}
