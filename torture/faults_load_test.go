package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// lazy is a peer's end that pauses before each read.
type lazy struct {
	net.Conn
	pause time.Duration
}

func (l *lazy) Read(p []byte) (int, error) {
	time.Sleep(l.pause)
	return l.Conn.Read(p)
}

// TestFault10ProducersFarBeyondTheBounds: waiting messages never exceed the limits, even with a
// slow hook. A peer that reads slowly still gets every message.
func TestFault10ProducersFarBeyondTheBounds(t *testing.T) {
	const producers, each, largest = 2, 40, 1000
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		outbox, buffer := 2000+rnd.IntN(2000), 1+rnd.IntN(8)
		mailbox := rnd.IntN(2) * (1000 + rnd.IntN(3000))
		pause := time.Duration(rnd.IntN(2000)) * time.Microsecond
		var r *rig
		r = newIdle(t, gcpool.WithOutbox(outbox), gcpool.WithBuffer(buffer), gcpool.WithMailbox(time.Hour, mailbox),
			gcpool.WithOverflow(gcpool.Overflow(rnd.IntN(3))), gcpool.WithHeartbeat(0),
			gcpool.WithUndelivered(func(u gcpool.Undelivered) {
				time.Sleep(pause)
				if u.ID == "reads" {
					r.ledger.Breach("a peer that reads lost a message: %v", u.Err)
				}
				r.ledger.Undelivered(u)
			}))
		// The outboxes, the mailbox and the buffer; and for reports the buffer, the content of
		// a disconnected outbox, and the messages that each Add in progress may push out.
		r.bounds = ledger.Bounds{Connections: 2,
			Bytes: 2*outbox + mailbox + buffer*largest + outbox + 3*producers*2*largest}
		r.size = 1 << 10
		r.connect("stalled", pick(rnd))
		r.wrap = func(c net.Conn) net.Conn { return &lazy{c, time.Duration(rnd.IntN(20)) * time.Millisecond} }
		r.reader("reads", pick(rnd))
		most := r.flood(rnd, producers, each, largest)
		if most > r.bounds.Bytes || most < outbox/2 {
			t.Errorf("%d bytes waited, more than %d", most, r.bounds.Bytes)
		}
		if _, err := r.done(time.Minute); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// flood pushes to three ids, one of which is not connected, and starts the pool in the
// middle. It returns the largest number of bytes that waited.
func (r *rig) flood(rnd *rand.Rand, producers, each, largest int) (most int) {
	var pushing sync.WaitGroup
	for p := range producers {
		for _, id := range []string{"reads", "stalled", "away"} {
			sizes := rand.New(rand.NewPCG(rnd.Uint64(), 0))
			pushing.Go(func() {
				for range each {
					r.push(uint32(p), id, 100+sizes.IntN(largest-100))
				}
			})
		}
	}
	synctest.Wait() // all messages wait for Start
	before := r.stats()
	if before.Waiting != r.stream.Cap() || r.stream.Len() < 1 || r.stream.Len() > 3 {
		r.t.Errorf("before Start %d messages wait for %d ids, with a limit of %d", before.Waiting, r.stream.Len(), r.stream.Cap())
	}
	most = before.WaitingBytes
	r.pool.Start()
	over := make(chan struct{})
	go func() {
		pushing.Wait()
		close(over)
	}()
	for {
		select {
		case <-over:
			return most
		case <-time.After(7 * time.Millisecond):
			most = max(most, r.stats().WaitingBytes)
		}
	}
}

// TestFault10OverTCP pushes five times as much as the heap may grow, to peers that
// read, to a peer that does not, and to an id that is not connected. It checks the
// heap.
func TestFault10OverTCP(t *testing.T) {
	const outbox, mailbox, size, producers, growth = 256 << 10, 256 << 10, 16 << 10, 4, 16 << 20
	each(t, func(t *testing.T, k kind) {
		r := newTCP(t, gcpool.WithOutbox(outbox), gcpool.WithOverflow(gcpool.DropOldest), gcpool.WithBuffer(10),
			gcpool.WithMailbox(far, mailbox))
		r.bounds = ledger.Bounds{Connections: 3, Bytes: 3*outbox + mailbox + (10+20*producers)*size}
		_, p := r.proxied("stalled", k)
		p.Pause(true)
		ids := []string{"stalled", "away", "b", "c"}
		r.reader("b", k)
		r.reader("c", k)
		before := ledger.Measure(true).Heap
		var pushing sync.WaitGroup
		for n := range producers {
			pushing.Go(func() {
				for i := range 5 * growth / size / producers {
					r.push(uint32(n), ids[i%len(ids)], size)
				}
			})
		}
		over := make(chan struct{})
		go func() {
			pushing.Wait()
			close(over)
		}()
		for running := true; running; {
			select {
			case <-over:
				running = false
			default:
			}
			if heap := ledger.Measure(true).Heap; heap > before+growth {
				t.Fatalf("the heap grew by %d bytes", heap-before)
			}
			r.stats()
			runtime.Gosched()
		}
		p.Reset()
		s, err := r.done(far)
		if err != nil || s.Expired == 0 || s.Slow == 0 {
			t.Errorf("Shutdown: %v, %+v", err, s)
		}
	})
}

// TestFault11CallerReusesItsBuffer: whichever way a message goes, and however long it waits,
// its bytes stay as they were when it was pushed. The pool writes neither into the caller's
// array nor behind it. The bytes that the hook gets belong to the hook.
func TestFault11CallerReusesItsBuffer(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		var r *rig
		pause := time.Duration(rnd.IntN(20)) * time.Millisecond
		r = newIdle(t, gcpool.WithOutbox(16<<10), gcpool.WithMailbox(time.Duration(rnd.IntN(2))*time.Hour, 4<<10),
			gcpool.WithOverflow(gcpool.Overflow(rnd.IntN(3))),
			gcpool.WithUndelivered(func(u gcpool.Undelivered) {
				time.Sleep(pause)                            // other messages come and go; these bytes must not change
				more := append(u.Data, make([]byte, 100)...) // must not write into another message
				r.ledger.Undelivered(u)
				clear(more)
			}))
		array := make([]byte, 4<<10)
		r.reuse(array, "a", rnd) // these messages wait for Start
		r.pool.Start()
		r.reuse(array, "a", rnd) // the id is not connected: not delivered, or kept in the mailbox
		r.size = 300
		r.wrap = func(c net.Conn) net.Conn { return &lazy{c, time.Duration(rnd.IntN(50)) * time.Millisecond} }
		first := r.reader("a", pick(rnd))
		r.reuse(array, "a", rnd)
		stuck := r.connect("b", pick(rnd)) // these messages stay in an outbox
		r.reuse(array, "b", rnd)
		r.reader("a", pick(rnd)) // may take over the waiting messages
		r.reuse(array, "a", rnd)
		first.Conn.Close()
		synctest.Wait()
		r.reuse(array, "b", rnd)
		time.Sleep(time.Duration(rnd.IntN(3)) * time.Second)
		stuck.server.Reset()
		synctest.Wait()
		for range 4 {
			r.reuse(array, "a", rnd)
			r.reuse(array, "b", rnd)
		}
		if _, err := r.done(time.Minute); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// reuse pushes a few messages from the same array, in every way that has an outcome in
// the ledger. It overwrites the whole array as soon as that is allowed.
func (r *rig) reuse(array []byte, id string, rnd *rand.Rand) {
	for range 1 + rnd.IntN(6) {
		const producer = 1
		s, size := r.ledger.Stream(producer, id), 40+rnd.IntN(1500)
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(1000))*time.Microsecond)
		switch rnd.IntN(4) {
		case 0:
			s.Deliver(size, func(data []byte) error {
				return r.from(array, data, func(data []byte) error { return r.stream.Deliver(ctx, id, data) })
			})
		case 1:
			s.Add(size, func(data []byte) error {
				return r.from(array, data, func(data []byte) error { return r.stream.AddContext(ctx, id, data) })
			})
		default:
			s.Add(size, func(data []byte) error {
				return r.from(array, data, func(data []byte) error { return r.stream.Add(id, data) })
			})
		}
		cancel()
	}
}

// from pushes data, which is at the beginning of array.
func (r *rig) from(array, data []byte, push func(data []byte) error) error {
	const behind = 0xa5
	n := copy(array, data)
	for i := range array[n:] {
		array[n+i] = behind
	}
	err := push(array[:n])
	if string(array[:n]) != string(data) {
		r.t.Error("the pool wrote into the caller's message")
	}
	for i, b := range array[n:] {
		if b != behind {
			r.t.Errorf("the pool wrote %q, %d bytes behind the caller's message", b, i)
			break
		}
	}
	copy(array, fmt.Sprintf("%*s", len(array), "overwritten"))
	return err
}
