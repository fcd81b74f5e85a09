package libraries

import (
	"context"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/proxy"
)

// often is how many messages go to a peer that reads while another does not. If each waited
// half a second, they would take longer than patience, so the test needs no clock.
const often = 100

// TestFault01PeerStopsReading: a peer that stops reading is closed
// with ErrSlow after WithWriteTimeout.
func TestFault01PeerStopsReading(t *testing.T) {
	const timeout = 5 * time.Second // long enough that a stall of the machine does not make the peer slow before everything is pushed
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		r := newRig(t, lib, gcpool.WithOutbox(32<<20), gcpool.WithWriteTimeout(timeout), gcpool.WithHeartbeat(0))
		start := time.Now() // before the first push, because the timeout counts from a write of the pool
		stalled := r.stall()
		eventually(t, "the stalled peer is closed", func() bool { return r.conns.Connected("stalled") == 0 })
		if took := time.Since(start); took < timeout {
			t.Errorf("the stalled peer was closed after %v", took)
		}
		eventually(t, "all is reported", func() bool { return r.stats().Waiting == 0 })
		if s := r.pool.Stats()[0]; s.Slow == 0 || s.Slow != s.Undelivered {
			t.Errorf("%+v", s)
		}
		stalled.run()
		if _, err := r.done(); err != nil {
			t.Error(err)
		}
	})
}

// stall connects a peer that does not read, and pushes to it until many messages wait.
func (r *rig) stall() *user {
	r.t.Helper()
	u := r.connect("stalled")
	for r.pool.Stats()[0].Waiting < 50 {
		if err := r.push(r.t.Context(), "stalled", 60_000); err != nil {
			r.t.Fatal(err)
		}
	}
	return u
}

// TestFault01StalledPeerDelaysNobody: WithWriteTimeout is so long that a message that waited
// for the stalled peer's write would wait forever.
func TestFault01StalledPeerDelaysNobody(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		r := newRig(t, lib, gcpool.WithOutbox(32<<20), gcpool.WithWriteTimeout(time.Hour), gcpool.WithHeartbeat(0))
		stalled := r.stall()
		r.reader("b")
		r.deliver("b", often, 1000)
		if s := r.stats(); s.Connections != 2 || s.Undelivered != 0 || s.Waiting < 40 {
			t.Errorf("the peer has not stalled: %+v", s)
		}
		stalled.run()
		if _, err := r.done(); err != nil {
			t.Error(err)
		}
	})
}

// TestFault02PeerReadsOneByteASecond, but a little faster. Its window
// never opens, so it counts as stopped.
func TestFault02PeerReadsOneByteASecond(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		r := newRig(t, lib, gcpool.WithOutbox(32<<20), gcpool.WithWriteTimeout(time.Second), gcpool.WithHeartbeat(0))
		p := r.trickle()
		eventually(t, "it is closed", func() bool { return r.conns.Connected("slow") == 0 })
		eventually(t, "it is reported as slow", func() bool { return r.stats().Slow > 0 })
		p.Reset()
		if _, err := r.done(); err != nil {
			t.Error(err)
		}
	})
}

// trickle connects a peer that reads a byte now and then, and pushes to it.
func (r *rig) trickle() *proxy.Proxy {
	r.t.Helper()
	u, p := r.proxied("slow")
	u.run()
	p.Trickle(1, 100*time.Millisecond)
	for range 100 {
		r.push(r.t.Context(), "slow", 60_000)
	}
	return p
}

// TestFault02SlowPeerDelaysNobody is like
// TestFault01StalledPeerDelaysNobody, with a peer that reads slowly.
func TestFault02SlowPeerDelaysNobody(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		r := newRig(t, lib, gcpool.WithOutbox(32<<20), gcpool.WithWriteTimeout(time.Hour), gcpool.WithHeartbeat(0))
		p := r.trickle()
		r.reader("b")
		r.deliver("b", often, 1000)
		if s := r.stats(); s.Connections != 2 || s.Undelivered != 0 || s.Waiting == 0 {
			t.Errorf("the peer is not slow: %+v", s)
		}
		p.Reset()
		if _, err := r.done(); err != nil {
			t.Error(err)
		}
	})
}

// TestFault04Reset: an RST comes while messages flow, while a write is
// stuck, or inside an open message of the library. The connection is
// removed at once, and messages that its peer cannot have are reported.
func TestFault04Reset(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		for _, way := range []string{"flowing", "stuck", "open"} {
			r := newRig(t, lib, gcpool.WithWriteTimeout(time.Hour), gcpool.WithHeartbeat(0))
			u, p := r.proxied("a")
			r.reader("b")
			switch way {
			case "flowing":
				u.run()
				p.ResetAfter(300_000)
			case "stuck":
				p.Pause(true)
			case "open":
				u.run()
				if finish, err := u.visit.socket.begin(noise); err == nil {
					defer finish(nil)
				}
				p.Reset()
			}
			eventually(t, "the connection is removed", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				defer cancel()
				r.push(ctx, "a", 60_000)
				if way == "stuck" && r.pool.Stats()[0].Stalled > 0 {
					p.Reset()
				}
				return r.conns.Len() == 1
			})
			r.deliver("b", 1, 1000)
			s, err := r.done()
			lost := s.NotConnected + s.Deleted // a handler may call Del first
			if way == "open" && lib.locks {
				lost += s.Slow // such a library cannot close while its message is open
			}
			if err != nil || s.Undelivered == 0 && way == "stuck" || s.Undelivered != lost {
				t.Errorf("%s: %v, %+v", way, err, s)
			}
		}
	})
}

// TestFault05BlackHole: a peer from which nothing arrives any more is removed, but not before
// two heartbeats have passed, even though the system accepts the pushes. A peer that answers
// pings stays. internal/promises tests the exact time, in simulated time.
func TestFault05BlackHole(t *testing.T) {
	const heartbeat = 3 * time.Second // a busy machine may hold up the peer that stays for twice this time
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		r := newRig(t, lib, gcpool.WithHeartbeat(heartbeat), gcpool.WithOutbox(32<<20))
		start := time.Now() // before the peer's last sign of life
		u, p := r.proxied("a")
		u.run()
		other := r.reader("b")
		r.deliver("a", 1, 100)
		p.Blackhole()
		eventually(t, "the dead peer is found", func() bool {
			r.push(t.Context(), "a", 100)
			r.push(t.Context(), "b", 100)
			return r.conns.Connected("a") == 0
		})
		if took := time.Since(start); took < 2*heartbeat-heartbeat/4 {
			t.Errorf("the dead peer was found after %v", took)
		}
		s, err := r.done()
		if err != nil || s.Slow != 0 || other.code != 1001 || other.err != nil {
			t.Errorf("%v, the other ended with %d, %v: %+v", err, other.code, other.err, s)
		}
	})
}
