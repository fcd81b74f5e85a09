package ledger

import (
	"slices"
	"time"
	"unsafe"
)

// many is how many runs a stream may hold before it forgets old ones.
const many = 256

// settled is what of a stream can no longer change, and has been forgotten. What
// precedes a message that was received was on its way before it, so its outcome is
// known but for the time that a report and a slow reader of an older connection
// take: the ledger's patience.
type settled struct {
	floor  uint64 // the last
	unsure uint64 // how many of them nobody is sure of
	mark   uint64 // becomes floor
	since  time.Time
}

// settleLocked judges and forgets what has been settled, if there are many runs.
func (s *Stream) settleLocked() {
	runs := len(s.received) + len(s.reported) + len(s.failed) + len(s.written) + len(s.unsure)
	if runs+len(s.spans) <= many {
		return
	}
	now, t := time.Now(), &s.settled
	if t.mark > t.floor {
		if now.Sub(t.since) < s.ledger.patience {
			return
		}
		s.forgetLocked(t.mark)
	}
	if n := len(s.received); n > 0 {
		t.mark, t.since = s.received[n-1].last, now
	}
}

// forgetLocked judges and forgets what is up to last. Of the connections it keeps
// the last one, for what is missing after it.
func (s *Stream) forgetLocked(last uint64) {
	s.judgeLocked(last)
	before := s.unsure.size()
	for _, set := range []*set{&s.received, &s.reported, &s.failed, &s.written, &s.unsure} {
		set.forget(last)
	}
	s.settled.unsure += before - s.unsure.size()
	s.settled.floor = last
	old := 0
	for old+1 < len(s.spans) && s.spans[old].last <= last && s.spans[old+1].last <= last {
		old++
	}
	s.spans = slices.Delete(s.spans, 0, old)
	s.who.mu.Lock()
	defer s.who.mu.Unlock()
	s.who.torn = slices.DeleteFunc(s.who.torn, func(t tear) bool {
		return t.producer == s.producer && t.sequence <= last
	})
}

// sizeLocked returns about how many bytes s holds, without the message that it
// makes, which is its producer's.
func (s *Stream) sizeLocked() int {
	runs := cap(s.received) + cap(s.reported) + cap(s.failed) + cap(s.written) + cap(s.unsure)
	return int(unsafe.Sizeof(*s)) + runs*int(unsafe.Sizeof(run{})) + cap(s.spans)*int(unsafe.Sizeof(span{}))
}
