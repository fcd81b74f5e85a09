package ledger

import (
	"slices"

	"github.com/nulijiabei/gcpool"
)

// Bounds limit what may wait in a pool.
type Bounds struct {
	Connections int // ids at most; 0 for any number
	Bytes       int // of payload: WithOutbox for each id, WithMailbox, and reports; 0 for any number
}

// Sample judges Stats taken while the pool works. Samples of one pool must be passed in the
// order in which they were taken.
func (l *Ledger) Sample(s gcpool.Stats, b Bounds) {
	if s.Waiting < 0 || s.WaitingBytes < 0 || s.Accepted != s.Written+s.Forwarded+s.Undelivered+uint64(s.Waiting) {
		l.Breach("Stats do not add up: %+v", s)
	}
	if s.Undelivered != s.NotConnected+s.Slow+s.Deleted+s.Expired+s.Closed+s.Other {
		l.Breach("the reasons do not add up: %+v", s)
	}
	if uint64(s.Connections) != s.Joins-s.Leaves {
		l.Breach("the connections do not add up: %+v", s)
	}
	if b.Connections > 0 && s.Connections > b.Connections {
		l.Breach("%d connections of %d ids: %+v", s.Connections, b.Connections, s)
	}
	if b.Bytes > 0 && s.WaitingBytes > b.Bytes {
		l.Breach("%d bytes wait, of %d: %+v", s.WaitingBytes, b.Bytes, s)
	}
	l.samples.Lock()
	defer l.samples.Unlock()
	if was := l.samples.before; l.samples.count > 0 && (s.Accepted < was.Accepted || s.Written < was.Written ||
		s.Undelivered < was.Undelivered || s.WrittenBytes < was.WrittenBytes || s.Joins < was.Joins) {
		l.Breach("Stats went back: from %+v to %+v", was, s)
	}
	l.samples.before = s
	l.samples.count++
}

// Samples returns the number of samples so far.
func (l *Ledger) Samples() int {
	l.samples.Lock()
	defer l.samples.Unlock()
	return l.samples.count
}

// Final judges the Stats after Shutdown. All messages of the pool must have gone through l.
func (l *Ledger) Final(s gcpool.Stats) {
	l.Sample(s, Bounds{})
	t := l.Totals()
	if s.Waiting != 0 || s.WaitingBytes != 0 {
		l.Breach("after Shutdown messages wait: %+v", s)
	}
	if s.Accepted < t.Accepted || s.Accepted > t.Accepted+t.Unsure {
		l.Breach("%d (and %d) were accepted: %+v", t.Accepted, t.Unsure, s)
	}
	if s.Undelivered < t.Undelivered || s.Undelivered > t.Undelivered+t.Unsure {
		l.Breach("%d (and %d) were reported: %+v", t.Undelivered, t.Unsure, s)
	}
	if s.Written < t.Received {
		l.Breach("%d were received: %+v", t.Received, s)
	}
	for i, n := range []uint64{s.Slow, s.Deleted, s.Expired, s.Closed, s.NotConnected} {
		if n < t.Reasons[i] || n > t.Reasons[i]+t.Unsure {
			l.Breach("%d reports say %v: %+v", t.Reasons[i], Reasons[i], s)
		}
	}
}

// Check judges at the end, when each message has had its outcome and each Conn
// has ended. It returns all breaches, as Err does.
func (l *Ledger) Check() error {
	for _, s := range l.all() {
		s.check()
	}
	return l.Err()
}

// check looks for messages without an outcome, and for torn messages
// that were neither reported nor sent again.
func (s *Stream) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judgeLocked(s.next)
}

// judgeLocked is check for the unsettled messages up to last.
func (s *Stream) judgeLocked(last uint64) {
	s.who.mu.Lock()
	defer s.who.mu.Unlock()
	for _, lost := range gaps(s.settled.floor+1, last, s.received, s.reported, s.failed, s.unsure) {
		from, to := s.around(lost)
		if s.who.cutLocked(from, to) {
			continue
		}
		s.ledger.Breach("%s (to %d) was neither received nor reported, and no connection from %d to before %d was cut",
			s.name(lost.first), lost.last, from, to)
	}
	for _, t := range s.who.torn {
		whole := s.who.whole.has(uint64(t.generation))
		if t.producer != s.producer || t.sequence > last || t.sequence <= s.settled.floor || !whole {
			continue
		}
		reported := s.reported.has(t.sequence) || s.failed.has(t.sequence) || s.unsure.has(t.sequence)
		if !reported && !s.sentAgainLocked(t) {
			s.ledger.Breach("%s was torn on connection %d, and neither reported nor sent again", s.name(t.sequence), t.generation)
		}
	}
}

// sentAgainLocked reports whether a torn message came whole on a later connection, or may have
// been lost with a later connection that was cut.
func (s *Stream) sentAgainLocked(t tear) bool {
	if s.received.has(t.sequence) {
		return slices.ContainsFunc(s.spans, func(sp span) bool {
			return sp.first <= t.sequence && t.sequence <= sp.last && sp.generation > t.generation
		})
	}
	_, to := s.around(run{t.sequence, t.sequence})
	return s.who.cutLocked(t.generation+1, to)
}

// around returns the connections on which lost messages may have been written, from the one
// that got the message before them to just before the one that got the message after them. On
// the latter, they would have been received.
func (s *Stream) around(lost run) (from, to uint32) {
	from, to = 1, s.who.current.Load()+1
	for _, sp := range s.spans {
		if sp.first < lost.first {
			from = sp.generation
		}
		if sp.last > lost.last {
			to = min(to, sp.generation)
		}
	}
	return from, to
}

// cutLocked reports whether one of the connections was cut.
func (w *identity) cutLocked(from, to uint32) bool {
	for g := from; g < to; g++ {
		if !w.whole.has(uint64(g)) {
			return true
		}
	}
	return false
}
