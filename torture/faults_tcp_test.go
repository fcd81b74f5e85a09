package torture

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// far is the longest delay allowed in real time, for a busy machine.
const far = 20 * time.Second

// TestFault01Proxy is TestFault01PeerStopsReading on a real network.
func TestFault01Proxy(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		r := newTCP(t, gcpool.WithOutbox(1<<20), gcpool.WithWriteTimeout(500*time.Millisecond))
		r.bounds = ledger.Bounds{Connections: 2, Bytes: 4 << 20}
		u, p := r.proxied("stalled", k)
		r.run(u)
		r.reader("b", k)
		p.Pause(true)
		eventually(t, "the stalled peer is closed", func() bool {
			if err := r.add(t.Context(), 1, "stalled", 60_000); err != nil {
				t.Fatal(err)
			}
			if err := r.deliver(1, "b", 1000); err != nil {
				t.Fatalf("Deliver to the other: %v", err)
			}
			return r.stats().Slow > 0 && r.conns.Len() == 1
		})
		p.Reset()
		if _, err := r.done(far); err != nil {
			t.Error(err)
		}
	})
}

// TestFault02Proxy is TestFault02PeerReadsOneByteASecond, but a little faster.
func TestFault02Proxy(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		r := newTCP(t, gcpool.WithWriteTimeout(time.Second))
		u, p := r.proxied("slow", k)
		r.run(u)
		r.reader("b", k)
		p.Trickle(1, 100*time.Millisecond)
		for range 100 {
			r.push(1, "slow", 50_000)
			if err := r.deliver(1, "b", 1000); err != nil {
				t.Fatalf("Deliver to the other: %v", err)
			}
			r.stats()
		}
		eventually(t, "the slow peer is closed", func() bool { return r.stats().Slow > 0 && r.conns.Len() == 1 })
		p.Reset()
		if _, err := r.done(far); err != nil {
			t.Error(err)
		}
	})
}

// TestFault04Proxy: a real RST comes while messages flow or while a write is stuck. The
// connection is removed long before the write timeout, and messages that the peer
// cannot have are reported.
func TestFault04Proxy(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		rnd := rand.New(rand.NewPCG(4, uint64(k)))
		for i := range 10 {
			r := newTCP(t, gcpool.WithWriteTimeout(time.Hour), gcpool.WithHeartbeat(0))
			u, p := r.proxied("a", k)
			r.reader("b", k)
			stuck := i%2 == 0
			if stuck {
				p.Pause(true)
			} else {
				r.run(u)
				p.ResetAfter(1 + rnd.IntN(1<<20))
			}
			eventually(t, "the connection is removed", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer cancel()
				r.add(ctx, 1, "a", 60_000)
				if stuck && r.stats().Stalled > 0 {
					p.Reset()
				}
				return r.conns.Len() == 1
			})
			if err := r.deliver(1, "b", 1000); err != nil {
				t.Errorf("Deliver to another: %v", err)
			}
			s, err := r.done(far) // the handler may see the RST first, and call Del
			if err != nil || s.Undelivered == 0 && stuck || s.Undelivered != s.NotConnected+s.Deleted {
				t.Fatalf("%v, %+v", err, s)
			}
		}
	})
}

// TestFault05Proxy is TestFault05BlackHole on a real network. The operating system
// accepts the pushes.
func TestFault05Proxy(t *testing.T) {
	r := newTCP(t, gcpool.WithHeartbeat(2*time.Second)) // a busy machine may hold up the peers that answer for twice this time
	u, p := r.proxied("a", upgraded)
	r.run(u)
	other := r.reader("b", upgraded)
	eventually(t, "both have answered pings", func() bool { return u.Pings.Load() > 1 && other.Pings.Load() > 1 })
	if s := r.stats(); s.Connections != 2 || s.Leaves != 0 {
		t.Fatalf("a peer that answers pings was closed: %+v", s)
	}
	p.Blackhole()
	eventually(t, "the dead peer is found", func() bool {
		r.push(1, "a", 100)
		r.push(1, "b", 100)
		return r.conns.Len() == 1
	})
	if s, err := r.done(far); err != nil || s.Slow != 0 || other.Status != 1001 {
		t.Errorf("%v, status %d, %+v", err, other.Status, s)
	}
}

// TestFault06OverTCP: a user whose old handlers end late reconnects over and over, while
// messages keep coming. No message is lost while the peers read.
func TestFault06OverTCP(t *testing.T) {
	for _, k := range kinds[1:] {
		t.Run(k.String(), func(t *testing.T) {
			r := newTCP(t)
			old := &late{}
			r.leave = old.leave
			r.reader("alice", k)
			stop := make(chan struct{})
			var pushing sync.WaitGroup
			for n := range 2 {
				pushing.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							r.push(uint32(n), "alice", 60)
						}
					}
				})
			}
			for i := range 100 {
				r.reader("alice", k)
				old.letGo(i % 3)
			}
			old.letGo(-1)
			close(stop)
			pushing.Wait()
			s, err := r.done(far)
			// A write that is stuck for more than a moment, as on a
			// busy machine, is cut, and its one message is lost.
			if err != nil || s.Undelivered > s.Takeovers || s.Undelivered != s.NotConnected {
				t.Errorf("Shutdown: %v; %+v of %+v", err, r.ledger.Totals(), s)
			}
		})
	}
}
