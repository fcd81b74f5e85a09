package torture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

const million = 1_000_000

// strangers records the outcomes of messages to ids that never connect. There is one message for
// each id. The tests look for memory that grows with the number of ids, so they cannot use the
// ledger, which grows that way itself. Only the hook changes the record, one call at a time.
type strangers struct {
	seen    []bool // by the message's number
	reasons map[error]int
	wrong   error
}

func newStrangers() *strangers {
	return &strangers{seen: make([]bool, million), reasons: make(map[error]int)}
}

func stranger(n int) (id string, data []byte) {
	return fmt.Sprint("nobody ", n), binary.BigEndian.AppendUint64(make([]byte, 0, 20), uint64(n))
}

// undelivered is the WithUndelivered hook.
func (s *strangers) undelivered(u gcpool.Undelivered) {
	if len(u.Data) != 8 {
		s.wrong = fmt.Errorf("reported for %q: %x", u.ID, u.Data)
		return
	}
	n := int(binary.BigEndian.Uint64(u.Data))
	if id, _ := stranger(n); n >= million || s.seen[n] || u.ID != id {
		s.wrong = fmt.Errorf("message %d reported for %q, twice or wrongly", n, u.ID)
		return
	}
	s.seen[n] = true
	for _, reason := range ledger.Reasons {
		if errors.Is(u.Err, reason) {
			s.reasons[reason]++
		}
	}
}

// TestFault09UnknownIDsByTheMillion: every message is reported once, and no id keeps memory,
// except for the messages that the mailbox holds. A connected peer is not affected.
func TestFault09UnknownIDsByTheMillion(t *testing.T) {
	const mailbox = 32 << 10
	for _, c := range []struct {
		name    string
		ids     int
		hook    bool
		waiting int // messages at the end; the mailbox limits tiny ones by number
		opt     gcpool.Option
	}{
		{"told", million, true, 0, nil},
		{"not told", million, false, 0, nil},
		{"mailbox", million / 10, true, mailbox/16 + 1024, gcpool.WithMailbox(time.Hour, mailbox)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStrangers()
			hook := gcpool.WithUndelivered(nil)
			if c.hook {
				hook = gcpool.WithUndelivered(s.undelivered)
			}
			r := newRig(t, hook, c.opt)
			// The outbox of the connected id, the mailbox, and the reports that may wait, with
			// one more for each Add in progress.
			r.bounds = ledger.Bounds{Connections: 1, Bytes: 1<<20 + mailbox + 8*(1000+100)}
			r.reader("here", upgraded)
			r.pushStrangers(c.ids)
			after := r.stats()
			if after.Waiting > c.waiting+1000 {
				t.Errorf("%d messages wait, want %d", after.Waiting, c.waiting)
			}
			if err := r.end(far); err != nil {
				t.Error(err)
			}
			r.strangersEnd(s, c.ids, c.hook, c.waiting)
		})
	}
}

// pushStrangers adds a message for each of the given number of ids, from four goroutines. For
// some ids it makes every other call too. It watches the heap.
func (r *rig) pushStrangers(ids int) {
	t := r.t
	const growth = 16 << 20 // even small records of all ids would take more
	before := ledger.Measure(true).Heap
	var pushing sync.WaitGroup
	for p := range 4 {
		pushing.Go(func() {
			for n := p; n < ids; n += 4 {
				id, data := stranger(n)
				if err := r.stream.Add(id, data); err != nil {
					t.Errorf("Add: %v", err)
					return
				}
				if n%64 < 4 {
					r.askFor(id)
				}
				if n%(million/10) == 0 {
					if heap := ledger.Measure(true).Heap; heap > before+growth {
						t.Errorf("the heap grew by %d bytes", heap-before)
						return
					}
				}
			}
		})
	}
	for range 100 {
		if err := r.deliver(1, "here", 100); err != nil {
			t.Errorf("Deliver to an id that is connected: %v", err)
		}
		r.stats()
	}
	pushing.Wait()
	if heap := ledger.Measure(true).Heap; heap > before+growth {
		t.Errorf("the heap grew by %d bytes", heap-before)
	}
}

// askFor makes the calls that could make an id that never connected keep memory.
func (r *rig) askFor(id string) {
	err := r.conns.Get(id, func(net.Conn) error { return nil })
	if !errors.Is(err, gcpool.ErrNotConnected) || r.conns.Del(id) || r.conns.DelConn(id, nil) || gcpool.NewLocal(r.pool).Evict(name, id, nil) {
		r.t.Errorf("%q is connected: %v", id, err)
	}
	gcpool.NewLocal(r.pool).Appeared(name, id)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.stream.Deliver(ended, id, nil); !errors.Is(err, context.Canceled) || !errors.Is(err, gcpool.ErrNotAccepted) {
		r.t.Errorf("Deliver with a context that has ended: %v", err)
	}
	if _, err := gcpool.NewLocal(r.pool).Receive(name, id, [][]byte{nil}, func([]error) {}); err != gcpool.ErrMoved {
		r.t.Errorf("Receive for an id that is not connected here: %v", err)
	}
}

// strangersEnd checks the outcomes after Shutdown, which reports the messages left in the mailbox.
func (r *rig) strangersEnd(s *strangers, ids int, hook bool, waiting int) {
	t, stats, all := r.t, r.pool.Stats()[0], uint64(ids)
	if stats.Undelivered != all || stats.Joins != 1 {
		t.Errorf("%+v", stats)
	}
	if waiting == 0 && stats.NotConnected != all {
		t.Errorf("%d of %d were not connected", stats.NotConnected, all)
	}
	if waiting > 0 && (stats.Closed == 0 || stats.Closed > uint64(waiting) || stats.Expired != all-stats.Closed) {
		t.Errorf("%d gave way in the mailbox, %d stayed to the end, of %d", stats.Expired, stats.Closed, waiting)
	}
	if s.wrong != nil {
		t.Error(s.wrong)
	}
	if hook && (s.reasons[gcpool.ErrNotConnected] != int(stats.NotConnected) ||
		s.reasons[gcpool.ErrExpired] != int(stats.Expired) || s.reasons[gcpool.ErrClosed] != int(stats.Closed)) {
		t.Errorf("the hook was told of %v", s.reasons)
	}
}
