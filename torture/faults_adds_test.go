package torture

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/torture/internal/fault"
	"github.com/nulijiabei/gcpool/torture/internal/peer"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// TestFault07ConcurrentAddsOfOneID: exactly one connection survives
// and gets the pushes. All others are closed.
func TestFault07ConcurrentAddsOfOneID(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		r := newRig(t)
		n := 2 + rnd.IntN(15)
		servers := make([]*fault.Conn, n)
		peers := make([]*peer.Peer, n)
		var adding sync.WaitGroup
		for i := range n {
			k := pick(rnd)
			u := &user{id: "a", kind: k}
			if k == raw {
				s, c := r.pair()
				servers[i], peers[i] = r.last, peer.Raw(c)
				adding.Go(func() { r.conns.Add("a", s) })
				continue
			}
			c, _ := r.dial()
			servers[i] = r.last
			adding.Go(func() {
				u.Peer, u.err = peer.Dial(c, "/"+k.String()+"?id=a&n=bare")
				if peers[i] = u.Peer; u.err != nil {
					t.Error(u.err)
				}
			})
		}
		adding.Wait()
		got := make([]int, n)
		for i, p := range peers {
			r.wg.Go(func() {
				defer p.Conn.Close()
				for {
					if _, err := p.Next(); err != nil {
						return
					}
					got[i]++
				}
			})
		}
		time.Sleep(2 * time.Second) // the pool closes connections whose handlers do not
		synctest.Wait()
		r.survivor(servers, got)
	})
}

// survivor checks that exactly one of the servers' ends is open, and that it gets a
// push.
func (r *rig) survivor(servers []*fault.Conn, got []int) {
	t, n := r.t, len(servers)
	var open []int
	for i, s := range servers {
		if !s.Closed() {
			open = append(open, i)
		}
	}
	if len(open) != 1 || r.conns.Len() != 1 {
		t.Fatalf("of %d connections these are open: %v; the pool has %d", n, open, r.conns.Len())
	}
	data := ledger.Append(nil, ledger.Message{ID: "a"})
	if err := r.stream.Deliver(t.Context(), "a", data); err != nil {
		t.Errorf("Deliver to the survivor: %v", err)
	}
	synctest.Wait()
	for i := range got {
		if want := i == open[0]; got[i] == 1 != want || got[i] > 1 {
			t.Errorf("connection %d got messages, or too few (connection %d survived): %d", i, open[0], got[i])
		}
	}
	if err := r.end(time.Second); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if s := r.pool.Stats()[0]; s.Joins != 1 || s.Takeovers != uint64(n-1) || s.Leaves != 1 || s.Written != 1 {
		t.Errorf("%+v", s)
	}
}

// TestFault07ThousandAddsOfOneID is the same test over TCP.
func TestFault07ThousandAddsOfOneID(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		const n = 1000
		r := newTCP(t)
		users := r.bares("a", k, n)
		eventually(t, "all have been added", func() bool { s := r.stats(); return s.Joins+s.Takeovers == uint64(n) })
		if r.conns.Len() != 1 {
			t.Fatalf("%d are connected", r.conns.Len())
		}
		close(users)
		got := make(chan *user, n)
		for u := range users {
			r.wg.Go(func() {
				defer u.Conn.Close()
				_, err := u.Next()
				for ; err == nil; _, err = u.Next() {
					got <- u
				}
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("a connection was not closed")
				}
			})
		}
		data := ledger.Append(nil, ledger.Message{ID: "a"})
		if err := r.stream.Deliver(t.Context(), "a", data); err != nil {
			t.Fatal(err)
		}
		<-got
		if err := r.end(far); err != nil {
			t.Error(err)
		}
		if s := r.pool.Stats()[0]; len(got) != 0 || s.Joins != 1 || s.Written != 1 || s.Takeovers != uint64(n-1) {
			t.Errorf("%d more survivors, %+v", len(got), s)
		}
	})
}

// bares connects n times with the same id, and returns the users.
func (r *rig) bares(id string, k kind, n int) chan *user {
	users := make(chan *user, n)
	gate := make(chan struct{}, 50) // limits the handshakes that run at once
	for range n {
		r.wg.Go(func() {
			gate <- struct{}{}
			u, err := r.bare(id, k)
			if <-gate; err != nil {
				r.t.Error(err)
			} else {
				users <- u
			}
		})
	}
	r.wg.Wait()
	return users
}
