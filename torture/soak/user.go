package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool/torture/internal/peer"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// order is the way in which a user must reconnect.
type order int

const (
	takeover  order = iota // the new connection comes first; the old one is read to its end
	abandon                // the new connection comes first; the old one is closed unread
	closed                 // the old connection is closed first
	reset                  // the old connection is reset first
	reconnect              // the number of orders
)

// A user is one id, which stays connected as long as the soak runs.
type user struct {
	soak   *soak
	lane   *lane
	id     string
	rnd    *rand.Rand // used only by live
	binary bool       // set by live, read by the handler of its dial
	orders chan order

	mu  sync.Mutex
	now *session // nil before the first session
}

// A session is one connection of a user.
type session struct {
	*peer.Peer
	tcp   *net.TCPConn
	gate  *gate
	conn  *ledger.Conn
	ended chan struct{}
}

// live connects the user again and again.
func (u *user) live() {
	var old *session
	how := takeover
	for {
		next, err := u.connect()
		if err != nil {
			u.lane.ledger.Breach("%s cannot connect: %v", u.id, err)
			return
		}
		u.mu.Lock()
		u.now = next
		u.mu.Unlock()
		if old != nil {
			old.leave(how)
		}
		old = next
		var ended bool
		if how, ended = u.stay(next); ended {
			return
		}
		if how >= closed {
			next.leave(how)
		}
	}
}

// stay waits until it is time to reconnect, and returns how, or until the soak ends.
func (u *user) stay(now *session) (how order, ended bool) {
	select {
	case how = <-u.orders:
		return how, false
	case <-u.soak.quit:
		return 0, true
	case <-now.ended:
	}
	select { // as clients do that were disconnected
	case <-time.After(time.Duration(u.rnd.IntN(200)) * time.Millisecond):
		return closed, false
	case <-u.soak.quit:
		return 0, true
	}
}

// connect dials, and returns once ConnPool.Add is being called.
func (u *user) connect() (*session, error) {
	s := u.soak
	n := fmt.Sprint(s.number.Add(1))
	c := &call{user: u, conn: make(chan *ledger.Conn, 1)}
	s.calls.Store(n, c)
	kind := u.rnd.IntN(100)
	u.binary = kind%2 == 0
	addr := s.http.Addr().String()
	if kind < 15 {
		addr = s.raw.Addr().String()
	}
	dialer := net.Dialer{Control: shrink}
	conn, err := dialer.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	now := &session{tcp: conn.(*net.TCPConn), gate: newGate(conn), ended: make(chan struct{})}
	switch {
	case kind < 15:
		now.Peer = peer.Raw(now.gate)
		_, err = fmt.Fprintln(conn, n)
	case kind < 30:
		now.Peer, err = peer.Dial(now.gate, "/plain?n="+n)
	case kind < 50:
		now.Peer, err = peer.Dial(now.gate, "/upgraded?n="+n)
	default:
		now.Peer, err = peer.Dial(now.gate, paths[kind%len(paths)]+"?n="+n)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	now.conn = <-c.conn
	s.open.Add(1)
	s.reading.Go(func() { u.read(now) })
	return now, nil
}

// read reads a session to its end.
func (u *user) read(now *session) {
	defer u.soak.open.Add(-1)
	defer close(now.ended)
	if err := now.Run(now.conn); err != nil && !broken(err) {
		u.lane.ledger.Breach("%s, connection %d: %v", u.id, now.conn.Generation(), err)
	}
}

// leave ends a session.
func (now *session) leave(how order) {
	switch how {
	case reset:
		now.tcp.SetLinger(0)
		now.gate.Close()
	case closed, abandon:
		now.gate.Close()
	default:
		now.gate.set(true)
	}
}

// session returns the present session, or nil before the first.
func (u *user) session() *session {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.now
}

// release makes the user read again, if it had stopped.
func (u *user) release() {
	if now := u.session(); now != nil {
		now.gate.set(true)
	}
}

// drop closes the user's connection.
func (u *user) drop() {
	if now := u.session(); now != nil {
		now.gate.Close()
	}
}
