// Package mailbox orders the messages for ids that are away by age. It does not hold them: they
// stay in the logs of their ids.
package mailbox

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// An Owner is an id whose log has messages in the mailbox.
type Owner interface {
	// Gone reports whether all messages up to a position have left the mailbox. Positions
	// count the messages that the owner has had there. It takes no lock.
	Gone(upTo uint64) bool
	// Expire locks the owner. If the mailbox then still says that the owner is Due, the oldest
	// message gives way.
	Expire()
}

// A Mailbox keeps the order and the bounds: messages expire, and the oldest give way when there
// are too many.
type Mailbox struct {
	TTL    time.Duration
	Bytes  int          // the bound on payload, and on what else Put counts
	Closed *atomic.Bool // the pool is closed: all messages give way at the next Trim, even those that come later

	mu       sync.Mutex // a leaf
	runs     []run      // oldest first; some may be gone
	messages int
	bytes    int
	timer    *time.Timer
}

// A run has messages of one id that came together, up to a position; see Owner.
type run struct {
	owner   Owner
	upTo    uint64
	expires time.Time
}

// Holds returns how many bytes m holds, as Put counts them.
func (m *Mailbox) Holds() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}

// Put adds messages of o. bytes is their total size, and upTo is the position of the last one.
// Afterwards the caller calls Fit without holding a lock, or Schedule.
func (m *Mailbox) Put(o Owner, upTo uint64, messages, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages += messages
	m.bytes += bytes
	m.runs = append(m.runs, run{o, upTo, time.Now().Add(m.TTL)})
	if len(m.runs) > 2*m.messages+64 {
		m.runs = slices.DeleteFunc(m.runs, func(r run) bool { return r.owner.Gone(r.upTo) })
	}
	if len(m.runs) == 1 {
		m.scheduleLocked()
	}
}

// Remove notes that messages have left. From now on their owner's Gone says so.
func (m *Mailbox) Remove(messages, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.messages -= messages
	m.bytes -= bytes
}

// Due reports whether o has the oldest message and the message must give way, and whether there
// are too many messages. o is locked.
func (m *Mailbox) Due(o Owner) (due, full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	oldest := m.oldestLocked()
	return oldest != nil && oldest.owner == o && m.restLocked(oldest) <= 0, m.fullLocked()
}

// fitMost is how many messages one Fit makes give way at most, or more if n bytes need more. The
// caller of Fit should not have to make room for what others have put.
const fitMost = 64

// Fit makes some of the oldest messages give way if there are too many, after the caller has put
// a message of n bytes. It leaves the rest, and expired messages, to Trim. It must not be called
// under an owner's lock.
func (m *Mailbox) Fit(n int) {
	left, enough := fitMost, -1
	m.trim(func() bool {
		if left--; enough < 0 {
			enough = max(0, m.bytes-n)
		}
		return (left >= 0 || m.bytes > enough) && m.fullLocked()
	})
	if left < 0 {
		m.Schedule()
	}
}

// Trim makes the oldest messages give way until the rest is young and small enough, or until ctx
// ends. It must not be called under an owner's lock.
func (m *Mailbox) Trim(ctx context.Context) {
	m.trim(func() bool { return ctx.Err() == nil && m.restLocked(&m.runs[0]) <= 0 })
	m.Schedule()
}

// trim makes the oldest messages give way as long as due returns true.
func (m *Mailbox) trim(due func() bool) {
	for {
		m.mu.Lock()
		oldest := m.oldestLocked()
		if oldest == nil || !due() {
			m.mu.Unlock()
			return
		}
		owner := oldest.owner
		m.mu.Unlock()
		owner.Expire()
	}
}

// oldestLocked returns the oldest run that is not gone, nil if there is none.
func (m *Mailbox) oldestLocked() *run {
	for len(m.runs) > 0 {
		if r := &m.runs[0]; !r.owner.Gone(r.upTo) {
			return r
		}
		m.runs[0] = run{}
		m.runs = m.runs[1:]
	}
	m.runs = nil
	return nil
}

// restLocked returns how long the oldest run may stay.
func (m *Mailbox) restLocked(oldest *run) time.Duration {
	if m.fullLocked() {
		return 0
	}
	return time.Until(oldest.expires)
}

// fullLocked reports whether messages must give way whatever their age. The bound on their number
// keeps the overhead of tiny messages in proportion.
func (m *Mailbox) fullLocked() bool {
	return m.bytes > m.Bytes || m.messages > m.Bytes/16+1024 || m.Closed.Load()
}

// Schedule sets the timer that calls Trim, on a goroutine of its own, when the oldest messages
// must give way.
func (m *Mailbox) Schedule() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.scheduleLocked()
}

func (m *Mailbox) scheduleLocked() {
	if m.timer != nil {
		m.timer.Stop()
	}
	if oldest := m.oldestLocked(); oldest != nil {
		m.timer = time.AfterFunc(max(0, m.restLocked(oldest)), func() { m.Trim(context.Background()) })
	}
}
