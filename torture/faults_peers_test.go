package torture

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// tick is how long the pool may take to notice that a write is stuck.
const tick = 10 * time.Millisecond

func pick(rnd *rand.Rand) kind { return kinds[rnd.IntN(len(kinds))] }

// TestFault01PeerStopsReading: a peer stops reading. It is closed and its waiting messages,
// which never exceed its outbox, are reported. No other peer is delayed.
func TestFault01PeerStopsReading(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		timeout := time.Duration(1+rnd.IntN(5)) * time.Second
		r := newRig(t, gcpool.WithOutbox(4<<10), gcpool.WithWriteTimeout(timeout), gcpool.WithHeartbeat(0),
			gcpool.WithOverflow(gcpool.Overflow(rnd.IntN(3))))
		r.size = 1 << 10
		r.bounds = ledger.Bounds{Connections: 3, Bytes: 3 * 4 << 10}
		r.connect("stalled", pick(rnd))
		r.reader("b", pick(rnd))
		r.reader("c", pick(rnd))
		sizes := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		r.wg.Go(func() {
			for range 30 {
				r.push(1, "stalled", 100+sizes.IntN(500))
			}
		})
		for range 20 {
			start := time.Now()
			id := string('b' + rune(rnd.IntN(2)))
			if err := r.deliver(2, id, 40+rnd.IntN(3000)); err != nil {
				t.Errorf("Deliver to %s, which reads: %v", id, err)
			}
			within(t, "another peer was served", start, tick)
			time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
			synctest.Wait()
			r.stats()
		}
		time.Sleep(timeout + 4*time.Second) // each of the 30 pushes may wait, but not for long
		synctest.Wait()
		if s := r.stats(); s.Connections != 2 || s.Slow == 0 || s.Waiting != 0 {
			t.Errorf("the stalled peer is still there: %+v", s)
		}
		if _, err := r.done(time.Second); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// slow is a peer's end that can be told to read one byte a second.
type slow struct {
	net.Conn
	on atomic.Bool
}

func (s *slow) Read(p []byte) (int, error) {
	if s.on.Load() && len(p) > 0 {
		time.Sleep(time.Second)
		p = p[:1]
	}
	return s.Conn.Read(p)
}

// TestFault02PeerReadsOneByteASecond: if a message takes longer than the write timeout, the peer is
// closed. With a sufficient timeout it gets every message. Either way, no other peer is delayed.
func TestFault02PeerReadsOneByteASecond(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		patient := rnd.IntN(4) == 0
		timeout := time.Duration(2+rnd.IntN(10)) * time.Second
		if patient {
			timeout = time.Hour
		}
		r := newRig(t, gcpool.WithWriteTimeout(timeout), gcpool.WithHeartbeat(0))
		r.size = 50
		var ends []*slow
		r.wrap = func(c net.Conn) net.Conn {
			ends = append(ends, &slow{Conn: c})
			return ends[len(ends)-1]
		}
		u := r.reader("slow", pick(rnd))
		r.reader("b", pick(rnd))
		ends[0].on.Store(true)
		n := 3 + rnd.IntN(5)
		for range n {
			r.push(1, "slow", 40+rnd.IntN(80))
			start := time.Now()
			if err := r.deliver(2, "b", 40+rnd.IntN(5000)); err != nil {
				t.Error(err)
			}
			within(t, "another peer was served", start, tick)
		}
		if patient {
			time.Sleep(2000 * time.Second)
		} else {
			time.Sleep(time.Duration(n) * (timeout + time.Second))
		}
		synctest.Wait()
		ends[0].on.Store(false)
		s := r.stats()
		if patient && (s.Connections != 2 || s.Undelivered != 0 || s.Waiting != 0) {
			t.Errorf("a peer within its timeout was closed: %+v", s)
		}
		if !patient && (s.Connections != 1 || s.Slow == 0) {
			t.Errorf("a peer beyond its timeout was not closed: %+v", s)
		}
		r.done(time.Second)
		if patient && u.err != nil {
			t.Error(u.err)
		}
	})
}

// TestFault03PartialWriteThenTimeout: the cut message is reported. Not a single byte may follow
// it on its connection, neither of another message nor of a control frame.
func TestFault03PartialWriteThenTimeout(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		timeout := time.Duration(1+rnd.IntN(3)) * time.Second
		r := newRig(t, gcpool.WithWriteTimeout(timeout), gcpool.WithHeartbeat(timeout*time.Duration(rnd.IntN(2))))
		r.size = 130 + rnd.IntN(100)
		u := r.connect("a", pick(rnd))
		handshake := u.server.Written()
		n := 1 + rnd.IntN(4)
		for range n {
			r.push(1, "a", r.size+rnd.IntN(1000))
		}
		time.Sleep(timeout + tick)
		synctest.Wait()
		cut := u.server.Written()
		if cut-handshake == 0 || cut-handshake > r.size {
			t.Errorf("%d bytes were written to a buffer of %d", cut-handshake, r.size)
		}
		if s := r.stats(); s.Slow != uint64(n) || s.Connections != 0 || s.Waiting != 0 {
			t.Errorf("after the timeout: %+v", s)
		}
		r.size = 64 << 10
		r.reader("a", pick(rnd))
		for range n {
			if err := r.deliver(1, "a", 40+rnd.IntN(1000)); err != nil {
				t.Errorf("Deliver to the next connection: %v", err)
			}
		}
		r.done(time.Second)
		if u.server.Written() != cut {
			t.Errorf("%d bytes followed the cut", u.server.Written()-cut)
		}
	})
}

// TestFault05BlackHole: an upgraded peer from which nothing arrives any more is found within
// two heartbeats. A peer that answers pings is not mistaken for one.
func TestFault05BlackHole(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		d := time.Duration(1+rnd.IntN(20)) * time.Second
		look := min(time.Second, d/4)
		r := newRig(t, gcpool.WithHeartbeat(d))
		u, other := r.reader("a", upgraded), r.reader("b", upgraded)
		start := time.Now()
		time.Sleep(time.Duration(rnd.Int64N(int64(4 * d))))
		synctest.Wait()
		if r.conns.Len() != 2 {
			t.Fatalf("a peer that answers pings was closed after %v", time.Since(start))
		}
		for range rnd.IntN(5) {
			r.push(1, "a", 40+rnd.IntN(100))
			r.push(1, "b", 40+rnd.IntN(100))
		}
		synctest.Wait()
		u.server.Blackhole()
		time.Sleep(2*d + 2*look)
		synctest.Wait()
		if s := r.stats(); s.Connections != 1 {
			t.Errorf("after two heartbeats of %v: %+v", d, s)
		}
		if err := r.deliver(1, "a", 50); !errors.Is(err, gcpool.ErrNotConnected) {
			t.Errorf("Deliver: %v", err)
		}
		if err := r.deliver(1, "b", 50); err != nil {
			t.Errorf("Deliver to the other: %v", err)
		}
		r.done(time.Second)
		if other.Status != 1001 {
			t.Errorf("the other peer's status is %d", other.Status)
		}
	})
}
