package main

import (
	"crypto/rand"
	"slices"
	"sync"
)

// unreadMax is how many messages are stored for a user.
const unreadMax = 1000

// A message is numbered for its user, from 1 on.
type message struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

// A store stands in for your database. It keeps messages until their user acknowledges them.
type store struct {
	mu    sync.Mutex
	users map[string]*unread
}

// unread has the messages that one user has not acknowledged: all after acked, in order.
type unread struct {
	log      string // identifies this series of numbers; other users and later stores have others
	acked    int
	messages []message
}

// add stores a message under the next number. It reports false if the user has too many.
func (s *store) add(user, text string) (message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.of(user)
	if len(u.messages) == unreadMax {
		return message{}, false
	}
	m := message{u.acked + len(u.messages) + 1, text}
	u.messages = append(u.messages, m)
	return m, true
}

// ack forgets the messages up to n.
func (s *store) ack(user string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.of(user)
	if n = min(n, u.acked+len(u.messages)); n > u.acked {
		u.messages = slices.Clone(u.messages[n-u.acked:])
		u.acked = n
	}
}

// start returns the user's log, and the number after which a client that has all messages up to n
// must go on. That is n, unless more has been acknowledged; but if log is not the user's log, or n
// is not in it yet, the client must start with the first unread message.
func (s *store) start(user, log string, n int) (string, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.of(user)
	if log != u.log || n > u.acked+len(u.messages) {
		n = 0
	}
	return u.log, max(n, u.acked)
}

// after returns the messages after n.
func (s *store) after(user string, n int) []message {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.of(user)
	return slices.Clone(u.messages[min(max(n-u.acked, 0), len(u.messages)):])
}

func (s *store) of(user string) *unread {
	if s.users[user] == nil {
		s.users[user] = &unread{log: rand.Text()}
	}
	return s.users[user]
}
