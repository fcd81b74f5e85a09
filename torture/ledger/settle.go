package ledger

import (
	"slices"
	"time"
	"unsafe"
)

// many is how many runs a stream may hold before it forgets old ones.
const many = 256

// settled describes the messages of a stream that can no longer change and
// have been forgotten. Once a message has been received, those before it had
// already been sent, so their outcomes are known, except for reports and slow
// readers of older connections, for which the ledger waits as long as patience.
type settled struct {
	floor  uint64 // the last forgotten message
	unsure uint64 // how many of them may or may not have been accepted
	mark   uint64 // becomes the floor after patience
	since  time.Time
}

// settleLocked judges and forgets settled messages, if there are many runs.
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

// forgetLocked judges and forgets all messages up to last. It keeps the last connection, to
// judge what is missing after it.
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

// sizeLocked returns about how many bytes s holds, without the
// message being built, which belongs to its producer.
func (s *Stream) sizeLocked() int {
	runs := cap(s.received) + cap(s.reported) + cap(s.failed) + cap(s.written) + cap(s.unsure)
	return int(unsafe.Sizeof(*s)) + runs*int(unsafe.Sizeof(run{})) + cap(s.spans)*int(unsafe.Sizeof(span{}))
}
