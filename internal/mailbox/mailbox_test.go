package mailbox

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// An owner has messages of one byte each, at positions from gone up to put.
type owner struct {
	name string
	m    *Mailbox
	gone atomic.Uint64
	put  uint64
	log  *losses
}

// losses records who has lost a message.
type losses struct {
	mu  sync.Mutex
	all string
}

func (l *losses) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

func (o *owner) left() uint64          { return o.put - o.gone.Load() }
func (o *owner) Gone(upTo uint64) bool { return o.gone.Load() >= upTo }

func (o *owner) Expire() {
	if due, _ := o.m.Due(o); due {
		o.lose(1)
		o.log.mu.Lock()
		o.log.all += o.name
		o.log.mu.Unlock()
	}
}

func (o *owner) lose(n int) {
	o.gone.Add(uint64(n))
	o.m.Remove(n, n)
}

func (o *owner) add(n int) {
	o.put += uint64(n)
	o.m.Put(o, o.put, n, n)
	o.m.Fit(n)
}

func owners(m *Mailbox) (a, b *owner, log *losses) {
	log = new(losses)
	return &owner{name: "a", m: m, log: log}, &owner{name: "b", m: m, log: log}, log
}

// bounded returns an empty mailbox.
func bounded(ttl time.Duration, bytes int) *Mailbox {
	return &Mailbox{TTL: ttl, Bytes: bytes, Closed: new(atomic.Bool)}
}

// TestOldestExpireFirst: each message stays for TTL, whoever owns it, even if its owner has
// lost other messages in the meantime.
func TestOldestExpireFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bounded(time.Minute, 1000)
		a, b, log := owners(m)
		start := time.Now()
		a.add(1)
		time.Sleep(time.Second)
		b.add(2)
		time.Sleep(time.Second)
		a.add(1)
		b.lose(1) // it was delivered
		for at, want := range []string{"", "a", "ab", "aba"} {
			time.Sleep(time.Until(start.Add(time.Minute + time.Duration(at)*time.Second - time.Millisecond)))
			synctest.Wait()
			if got := log.String(); got != want {
				t.Errorf("after %v these have expired: %q, want %q", time.Since(start), got, want)
			}
		}
	})
}

// TestOldestGiveWay: beyond the bounds the oldest messages give way, and no more of them than must.
func TestOldestGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bounded(time.Minute, 10)
		a, b, log := owners(m)
		a.add(4)
		b.add(6)
		if got := log.String(); got != "" {
			t.Errorf("%q gave way although the mailbox is within its bounds", got)
		}
		b.add(3)
		a.add(2)
		if got, want := log.String(), "aaaab"; got != want {
			t.Errorf("%q gave way, want %q", got, want)
		}
		m.Closed.Store(true)
		m.Trim(context.Background())
		if a.left()+b.left() > 0 {
			t.Errorf("after the end %d and %d are left", a.left(), b.left())
		}
	})
}

// TestDueIsTheOldest: beyond the bounds only the owner of the oldest message must give way.
func TestDueIsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bounded(time.Minute, 10)
		a, b, _ := owners(m)
		a.add(4)
		b.add(6)
		due := func(o Owner) bool { due, _ := m.Due(o); return due }
		if due(a) || due(b) {
			t.Error("an owner must give way although the mailbox is within its bounds")
		}
		b.put++
		m.Put(b, b.put, 1, 1)
		if !due(a) || due(b) {
			t.Errorf("Due is %v for the owner of the oldest message and %v for another; want true and false", due(a), due(b))
		}
		m.Closed.Store(true)
		m.Trim(context.Background())
	})
}

// TestTinyMessagesAreBounded by their number, because each takes memory beyond its payload.
func TestTinyMessagesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bounded(time.Minute, 160_000)
		a, _, _ := owners(m)
		for range 20_000 {
			a.add(1)
		}
		if left, want := a.left(), uint64(10_000+1024); left != want {
			t.Errorf("%d messages are left, want %d", left, want)
		}
		m.Closed.Store(true)
		m.Trim(context.Background())
	})
}

// TestRunsThatAreGoneTakeNoMemory: ids that come back leave nothing behind.
func TestRunsThatAreGoneTakeNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bounded(time.Minute, 1000)
		a, b, _ := owners(m)
		a.add(1) // stays
		for range 10_000 {
			b.add(1)
			b.lose(1)
		}
		if len(m.runs) > 200 {
			t.Errorf("%d runs are kept of 1 message", len(m.runs))
		}
		m.Closed.Store(true)
		m.Trim(context.Background())
	})
}

// TestFitLeavesWhatHasExpired: the caller who adds a message only makes room for it. Messages
// that have expired, possibly many, are left to the mailbox's own goroutine.
func TestFitLeavesWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := bounded(time.Minute, 3)
		a, b, log := owners(m)
		a.add(2)
		m.timer.Stop() // stands for the mailbox's own goroutine being late
		time.Sleep(2 * m.TTL)
		b.add(2)
		if got := log.String(); got != "a" {
			t.Errorf("to make room these gave way: %q, want %q", got, "a")
		}
		m.Trim(context.Background())
		time.Sleep(m.TTL)
		synctest.Wait()
		if got := log.String(); got != "aabb" {
			t.Errorf("in the end these gave way: %q, want %q", got, "aabb")
		}
	})
}

// TestFitIsShort: adding a message must not wait until thousands of others have given way.
func TestFitIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, log := owners(bounded(time.Hour, 10))
		a.add(1) // it starts the timer
		a.put += 1000
		a.m.Put(a, a.put, 1000, 1000)
		a.m.Fit(1)
		if n := len(log.String()); n != fitMost {
			t.Errorf("%d gave way at once, want %d", n, fitMost)
		}
		time.Sleep(time.Second)
		if n := len(log.String()); n != 991 {
			t.Errorf("%d gave way in the end, want 991", n)
		}
	})
}
