package libraries

import (
	"context"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// soon is more than a message to a peer that reads may take beside one that does not: the
// stalled write is handed off after 5 ms, and must not be waited for.
const soon = 600 * time.Millisecond

// TestFault01PeerStopsReading: it is closed with ErrSlow after WithWriteTimeout, and
// nobody else is delayed.
func TestFault01PeerStopsReading(t *testing.T) {
	const timeout = 2 * soon
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		r := newRig(t, lib, gcpool.WithOutbox(32<<20), gcpool.WithWriteTimeout(timeout), gcpool.WithHeartbeat(0))
		stalled := r.connect("stalled")
		r.reader("b")
		for r.pool.Stats()[0].Waiting < 50 {
			if err := r.push(t.Context(), "stalled", 60_000); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		for r.conns.Connected("stalled") == 1 && time.Since(start) < patience {
			r.deliver("b", 1000, soon)
			time.Sleep(5 * time.Millisecond)
		}
		if took := time.Since(start); took < timeout/2 || took > timeout+2*time.Second {
			t.Errorf("the stalled peer was closed after %v", took)
		}
		eventually(t, "all is reported", func() bool { return r.stats().Waiting == 0 })
		if s := r.pool.Stats()[0]; s.Slow == 0 || s.Slow != s.Undelivered {
			t.Errorf("%+v", s)
		}
		stalled.run()
		if _, err := r.done(patience); err != nil {
			t.Error(err)
		}
	})
}

// TestFault02PeerReadsOneByteASecond, a little faster: no window opens for it, so it has
// stopped. Nobody else is delayed.
func TestFault02PeerReadsOneByteASecond(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		r := newRig(t, lib, gcpool.WithOutbox(32<<20), gcpool.WithWriteTimeout(2*soon), gcpool.WithHeartbeat(0))
		u, p := r.proxied("slow")
		u.run()
		r.reader("b")
		p.Trickle(1, 100*time.Millisecond)
		for range 100 {
			r.push(t.Context(), "slow", 60_000)
		}
		for start := time.Now(); r.conns.Connected("slow") == 1 && time.Since(start) < patience; time.Sleep(5 * time.Millisecond) {
			r.deliver("b", 1000, soon)
		}
		eventually(t, "it is reported as slow", func() bool { return r.stats().Slow > 0 })
		p.Reset()
		if _, err := r.done(patience); err != nil {
			t.Error(err)
		}
	})
}

// TestFault04Reset: an RST while messages flow, while a write is stuck, or inside an open
// message of the library's. The connection is removed at once, and what its peer cannot
// have is reported.
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
			r.deliver("b", 1000, patience)
			s, err := r.done(patience)
			lost := s.NotConnected + s.Deleted // a handler may call Del first
			if way == "open" && lib.locks {
				lost += s.Slow // nor can such a library close what it has left open
			}
			if err != nil || s.Undelivered == 0 && way == "stuck" || s.Undelivered != lost {
				t.Errorf("%s: %v, %+v", way, err, s)
			}
		}
	})
}

// TestFault05BlackHole: a peer from which nothing comes any more is found within two
// heartbeats, though the system swallows what is pushed; one that answers pings stays.
func TestFault05BlackHole(t *testing.T) {
	const heartbeat = 300 * time.Millisecond
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		r := newRig(t, lib, gcpool.WithHeartbeat(heartbeat), gcpool.WithOutbox(32<<20))
		u, p := r.proxied("a")
		u.run()
		other := r.reader("b")
		r.deliver("a", 100, patience)
		p.Blackhole()
		start := time.Now()
		for r.conns.Connected("a") == 1 && time.Since(start) < patience {
			r.push(t.Context(), "a", 100)
			r.push(t.Context(), "b", 100)
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(start); took < heartbeat || took > 2*heartbeat+heartbeat/4+2*time.Second {
			t.Errorf("the dead peer was found after %v", took)
		}
		s, err := r.done(patience)
		if err != nil || s.Slow != 0 || other.code != 1001 || other.err != nil {
			t.Errorf("%v, the other ended with %d, %v: %+v", err, other.code, other.err, s)
		}
	})
}
