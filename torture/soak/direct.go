package main

import (
	"errors"
	"math/rand/v2"
	"net"
	"time"
)

// beat is how often the director acts.
const beat = 50 * time.Millisecond

// errUnwanted is what Get's function returns to have a connection removed.
var errUnwanted = errors.New("unwanted")

// A stall is a user who has stopped reading.
type stall struct {
	user    *user
	session *session
	until   time.Time
}

// direct makes users reconnect, 5 % a second, and stop reading, 10 % at any time. Now and then
// it makes the server remove a connection.
func (s *soak) direct() {
	rnd := rand.New(rand.NewPCG(s.seed, 1<<32))
	tick := time.NewTicker(beat)
	defer tick.Stop()
	var stalls []stall
	var due, unwanted float64
	for {
		select {
		case <-tick.C:
		case <-s.quit:
			return
		}
		due += 0.05 * float64(s.conns) * beat.Seconds()
		for ; due >= 1; due-- {
			s.users[rnd.IntN(s.conns)].reconnect(order(rnd.IntN(int(reconnect))))
		}
		unwanted += 0.002 * float64(s.conns) * beat.Seconds()
		for ; unwanted >= 1; unwanted-- {
			s.users[rnd.IntN(s.conns)].remove(rnd.IntN(4))
		}
		stalls = s.stall(stalls, rnd)
	}
}

// reconnect tells the user to reconnect, unless it has already been told to.
func (u *user) reconnect(how order) {
	select {
	case u.orders <- how:
	default:
	}
}

// remove makes the server remove the user's connection, in one of several ways.
func (u *user) remove(way int) {
	c := u.lane.conns
	switch way {
	case 0:
		c.Del(u.id)
	case 1:
		var conn net.Conn
		c.Get(u.id, func(now net.Conn) error { conn = now; return nil })
		c.DelConn(u.id, conn)
	case 2:
		c.Kick(u.id, 4999, "unwanted")
	default:
		c.Get(u.id, func(net.Conn) error { return errUnwanted })
	}
}

// stall ends the stalls whose time has come: the user goes on reading, or reconnects. Then it
// begins new ones, so that one user in ten is stalled.
func (s *soak) stall(stalls []stall, rnd *rand.Rand) []stall {
	now := time.Now()
	kept := stalls[:0]
	for _, st := range stalls {
		switch {
		case now.Before(st.until) && st.session == st.user.session():
			kept = append(kept, st)
		case rnd.IntN(2) == 0:
			st.user.reconnect(order(rnd.IntN(int(reconnect)))) // which opens the gate, if necessary
		default:
			st.session.gate.set(true)
		}
	}
	for tries := 0; len(kept) < s.conns/10 && tries < s.conns/10; tries++ {
		u := s.users[rnd.IntN(s.conns)]
		session := u.session()
		if session == nil || session.gate.shut() {
			continue
		}
		session.gate.set(false)
		kept = append(kept, stall{u, session, now.Add(time.Duration(200+rnd.IntN(5800)) * time.Millisecond)})
	}
	s.stalled.Store(int64(len(kept)))
	return kept
}
