package ledger

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nulijiabei/gcpool"
)

// A Stream is what one producer sends to one id.
type Stream struct {
	ledger   *Ledger
	producer uint32
	id       string
	who      *identity
	buf      []byte

	mu       sync.Mutex
	next     uint64 // the last message that was accepted, or is about to be
	got      uint64 // how many were received
	received set
	reported set // by the hook
	failed   set // by Deliver
	written  set // according to Deliver
	unsure   set // may or may not have been accepted
	spans    []span
	settled  settled
}

// span is the first and the last message that came on one connection.
type span struct {
	generation  uint32
	first, last uint64
}

func (s *Stream) name(n uint64) string {
	return fmt.Sprintf("message %d of producer %d to %.40q", n, s.producer, s.id)
}

// Add builds the next message, of size bytes, passes it to push, and overwrites its bytes. push
// must return what StreamPool.Add returned.
func (s *Stream) Add(size int, push func(data []byte) error) error {
	n := s.begin(size)
	err := push(s.buf)
	clear(s.buf)
	if err != nil {
		s.refused(n, err)
	}
	return err
}

// Deliver is Add for StreamPool.Deliver.
func (s *Stream) Deliver(size int, push func(data []byte) error) error {
	n := s.begin(size)
	err := push(s.buf)
	clear(s.buf)
	switch {
	case errors.Is(err, gcpool.ErrKept): // accepted, as with Add
		return err
	case errors.Is(err, gcpool.ErrInvalid), errors.Is(err, gcpool.ErrTooLarge), errors.Is(err, gcpool.ErrNotRegistered):
		s.refused(n, err)
		return err
	case err != nil && !isContext(err) && !errors.Is(err, gcpool.ErrClosed):
		s.ledger.reason(err)
		s.ledger.reported.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && s.reported.has(n):
		s.ledger.Breach("%s was reported and written, says Deliver", s.name(n))
	case err == nil:
		s.written.add(n)
	case isContext(err):
		s.unsure.add(n)
	case s.reported.has(n) || s.received.has(n):
		s.ledger.Breach("%s was reported or received, and Deliver says %v", s.name(n), err)
	default:
		s.failed.add(n)
		if errors.Is(err, gcpool.ErrClosed) { // either refused, or an outcome
			s.unsure.add(n)
		}
	}
	return err
}

// begin encodes the next message into s.buf. It counts the message as accepted, because it may
// be received before push returns.
func (s *Stream) begin(size int) uint64 {
	s.mu.Lock()
	s.next++
	n := s.next
	s.mu.Unlock()
	s.buf = Append(s.buf[:0], Message{s.producer, s.who.current.Load(), n, s.id, size})
	return n
}

// refused undoes begin, so the next message gets the same number.
func (s *Stream) refused(n uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next--
	if s.received.has(n) || s.reported.has(n) {
		s.ledger.Breach("%s was received or reported, and refused with %v", s.name(n), err)
	}
}

// receive judges message n, which came on the connection of the given generation.
func (s *Stream) receive(n uint64, generation uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case n == 0 || n > s.next:
		s.ledger.Breach("%s was received and not accepted", s.name(n))
		return
	case n <= s.settled.floor:
		s.ledger.Breach("%s was received long after %d", s.name(n), s.settled.floor)
		return
	case s.reported.has(n) || s.failed.has(n):
		s.ledger.Breach("%s was reported and received", s.name(n))
	case !s.received.add(n):
		s.ledger.Breach("%s was received twice", s.name(n))
		return
	}
	s.got++
	s.spanLocked(n, generation)
	s.settleLocked()
}

// spanLocked judges the order of message n among the messages of its connection, and of the
// connections before and after it.
func (s *Stream) spanLocked(n uint64, generation uint32) {
	i := len(s.spans)
	for i > 0 && s.spans[i-1].generation >= generation {
		i--
	}
	if i == len(s.spans) || s.spans[i].generation != generation {
		s.spans = slices.Insert(s.spans, i, span{generation, n, n})
	}
	here := &s.spans[i]
	if n < here.last {
		s.ledger.Breach("%s was received after %d, on connection %d", s.name(n), here.last, generation)
	}
	if i > 0 && s.spans[i-1].last > n {
		s.ledger.Breach("%s was received on connection %d, and %d on the one before", s.name(n), generation, s.spans[i-1].last)
	}
	if i+1 < len(s.spans) && s.spans[i+1].first < n {
		s.ledger.Breach("%s was received on connection %d, and %d on the one after", s.name(n), generation, s.spans[i+1].first)
	}
	here.first, here.last = min(here.first, n), max(here.last, n)
}
