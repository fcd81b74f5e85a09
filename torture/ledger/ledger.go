// Package ledger judges whether messages that went through gcpool had the fate that gcpool
// promises. Producers push through a [Stream], connections are added with [Ledger.Connect],
// their peers pass what they got to a [Conn], and the hook of WithUndelivered is
// [Ledger.Undelivered]. From these the ledger knows what became of every message:
//
//   - Each accepted message has one outcome: it was received, or reported, or written and lost
//     after the last one received on a connection that was cut.
//   - A message that was received had been accepted, was not reported, and came once.
//   - Messages of one producer to one id came in order, on each connection and across
//     connections.
//   - A message came on no other id's connection, and not on one that had already been replaced
//     when the message was sent.
//   - Only the last message on a connection may be torn. It is then reported, or comes whole on
//     a later connection.
//   - Stats adds up at each sample, and what waits is within the bounds.
//
// To handle 10^8 messages, the ledger keeps runs of messages and, once there are many, only the
// runs of the last minute. A report therefore must not come more than a minute after a later
// message of its stream was received. All methods may be called from any number of goroutines
// at once, except the methods of a Stream and of a Conn, each of which belongs to one
// goroutine.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool"
)

// Reasons are the errors that a report may wrap. The first match counts.
var Reasons = []error{gcpool.ErrSlow, gcpool.ErrDeleted, gcpool.ErrExpired, gcpool.ErrClosed, gcpool.ErrNotConnected}

// wrongs is how many breaches are kept; further ones are only counted.
const wrongs = 20

// A Ledger is the record of one run.
type Ledger struct {
	reported atomic.Uint64
	reasons  [6]atomic.Uint64 // by index in Reasons; the last is any other
	patience time.Duration    // how long a message can still change before it is forgotten

	mu      sync.Mutex
	streams map[key]*Stream
	ids     map[string]*identity

	breaches struct { // a leaf
		sync.Mutex
		count int
		first []string
	}
	samples struct { // a leaf
		sync.Mutex
		count  int
		before gcpool.Stats
	}
}

type key struct {
	producer uint32
	id       string
}

// identity is the record of an id's connections.
type identity struct {
	adding  sync.Mutex // one connection at a time, or generations would be meaningless
	current atomic.Uint32
	last    uint32 // adding

	mu    sync.Mutex
	torn  []tear
	whole set // generations whose peer got everything that was written
}

// tear is a message of which the peer got only a part.
type tear struct {
	producer   uint32
	sequence   uint64
	generation uint32
}

// New returns an empty Ledger.
func New() *Ledger {
	return &Ledger{streams: make(map[key]*Stream), ids: make(map[string]*identity), patience: time.Minute}
}

// Connect calls add, which must call ConnPool.Add, to make a connection id's, and returns its
// Conn. A message sent after Connect has returned must not come on an older connection.
// Connects of the same id wait for each other.
func (l *Ledger) Connect(id string, add func(c *Conn) error) (*Conn, error) {
	who := l.identity(id)
	who.adding.Lock()
	defer who.adding.Unlock()
	who.last++
	c := &Conn{ledger: l, id: id, who: who, generation: who.last, streams: make(map[uint32]*Stream)}
	if err := add(c); err != nil {
		c.End(true) // cannot have been written to
		return nil, err
	}
	who.current.Store(c.generation)
	return c, nil
}

// Stream returns the stream of a producer to an id.
func (l *Ledger) Stream(producer uint32, id string) *Stream {
	who := l.identity(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	k := key{producer, id}
	s := l.streams[k]
	if s == nil {
		s = &Stream{ledger: l, producer: producer, id: id, who: who}
		l.streams[k] = s
	}
	return s
}

func (l *Ledger) identity(id string) *identity {
	l.mu.Lock()
	defer l.mu.Unlock()
	who := l.ids[id]
	if who == nil {
		who = new(identity)
		l.ids[id] = who
	}
	return who
}

// Undelivered is a hook for WithUndelivered. It overwrites the data, which belongs to the hook.
func (l *Ledger) Undelivered(u gcpool.Undelivered) {
	m, id, err := decode(u.Data)
	if err != nil || string(id) != u.ID {
		l.Breach("reported for %.40q is not what was sent to it: %.40q (%v)", u.ID, u.Data, err)
		return
	}
	l.reason(u.Err)
	s := l.Stream(m.Producer, u.ID)
	clear(u.Data)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case m.Sequence > s.next:
		l.Breach("%s was reported and not accepted", s.name(m.Sequence))
	case m.Sequence <= s.settled.floor:
		l.Breach("%s was reported long after %d was received", s.name(m.Sequence), s.settled.floor)
	case s.received.has(m.Sequence):
		l.Breach("%s was received and reported with %v", s.name(m.Sequence), u.Err)
	case s.written.has(m.Sequence):
		l.Breach("%s was written, says Deliver, and reported with %v", s.name(m.Sequence), u.Err)
	case s.failed.has(m.Sequence) || !s.reported.add(m.Sequence):
		l.Breach("%s was reported twice", s.name(m.Sequence))
	}
	l.reported.Add(1)
	s.settleLocked()
}

// Unsure is like Undelivered, for a report that leaves open whether the message was delivered,
// as some of package cluster do.
func (l *Ledger) Unsure(u gcpool.Undelivered) {
	m, id, err := decode(u.Data)
	if err != nil || string(id) != u.ID {
		l.Breach("reported for %.40q is not what was sent to it: %.40q (%v)", u.ID, u.Data, err)
		return
	}
	s := l.Stream(m.Producer, u.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Sequence > s.next || s.reported.has(m.Sequence) || s.failed.has(m.Sequence) || !s.unsure.add(m.Sequence) {
		l.Breach("%s was not accepted, or reported twice", s.name(m.Sequence))
	}
}

func (l *Ledger) reason(err error) {
	for i, reason := range Reasons {
		if errors.Is(err, reason) {
			l.reasons[i].Add(1)
			return
		}
	}
	l.reasons[len(Reasons)].Add(1)
	l.Breach("a report with none of the reasons: %v", err)
}

// Breach records a breach that the caller found.
func (l *Ledger) Breach(format string, args ...any) {
	l.breaches.Lock()
	defer l.breaches.Unlock()
	if l.breaches.count++; len(l.breaches.first) < wrongs {
		l.breaches.first = append(l.breaches.first, fmt.Sprintf(format, args...))
	}
}

// Err returns the breaches found so far, or nil if there are none.
func (l *Ledger) Err() error {
	l.breaches.Lock()
	defer l.breaches.Unlock()
	if l.breaches.count == 0 {
		return nil
	}
	return fmt.Errorf("ledger: %d breaches:\n%s", l.breaches.count, strings.Join(l.breaches.first, "\n"))
}

// Totals are sums over all messages.
type Totals struct {
	Accepted, Received, Undelivered uint64
	Unsure                          uint64    // may have been accepted: Deliver gave up or was refused
	Reasons                         [6]uint64 // of Undelivered, by index in Reasons; the last is any other
	Kept                            int       // about how many bytes the ledger holds for all this
}

// Totals returns the sums so far.
func (l *Ledger) Totals() Totals {
	t := Totals{Undelivered: l.reported.Load()}
	for i := range l.reasons {
		t.Reasons[i] = l.reasons[i].Load()
	}
	for _, s := range l.all() {
		s.mu.Lock()
		t.Accepted += s.next
		t.Received += s.got
		t.Unsure += s.settled.unsure + s.unsure.size()
		t.Kept += s.sizeLocked()
		s.mu.Unlock()
	}
	t.Accepted -= t.Unsure
	return t
}

func (l *Ledger) all() []*Stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Values(l.streams))
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
