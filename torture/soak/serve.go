package main

import (
	"bufio"
	"net"
	"strings"
	"sync/atomic"

	"github.com/nulijiabei/gcpool/torture/ledger"
	"golang.org/x/net/websocket"
)

// A listener gives every other connection a small send buffer, so that the server soon notices
// a peer that stops reading. The rest keep their defaults, and are fast.
type listener struct {
	net.Listener
	count atomic.Uint64
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil && l.count.Add(1)%2 == 0 {
		err = conn.(*net.TCPConn).SetWriteBuffer(window)
	}
	return conn, err
}

// call is a user's dial that has not reached ConnPool.Add yet.
type call struct {
	user *user
	conn chan *ledger.Conn
}

// answer returns the call with that number.
func (s *soak) answer(number string) *call {
	if v, ok := s.calls.LoadAndDelete(number); ok {
		return v.(*call)
	}
	return nil
}

// hello is the handler of the original's README, except that Add goes through the ledger, for
// the user who called, and may come when Shutdown has begun.
func (s *soak) hello(ws *websocket.Conn) {
	c := s.answer(ws.Request().FormValue("n"))
	if c == nil {
		return
	}
	if c.user.binary {
		ws.PayloadType = websocket.BinaryFrame
	}
	id := c.user.id
	_, err := c.user.lane.ledger.Connect(id, func(conn *ledger.Conn) error {
		c.conn <- conn
		return s.pool.GetConn(c.user.lane.name).Add(id, ws)
	})
	if err != nil {
		return
	}
	defer s.pool.GetConn(c.user.lane.name).Del(id)
	r := bufio.NewReader(ws)
	for {
		if _, err := r.ReadBytes('\n'); err != nil {
			return
		}
	}
}

// accept serves raw connections.
func (s *soak) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.serving.Go(func() { s.greet(conn) })
	}
}

// greet is hello for a raw connection, whose peer first sends its number.
func (s *soak) greet(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 64)
	number, err := r.ReadString('\n')
	if err != nil {
		return
	}
	c := s.answer(strings.TrimSpace(number))
	if c == nil {
		return
	}
	id := c.user.id
	if _, err := c.user.lane.ledger.Connect(id, func(lc *ledger.Conn) error {
		c.conn <- lc
		return c.user.lane.conns.Add(id, conn)
	}); err != nil {
		return
	}
	defer c.user.lane.conns.Del(id)
	for {
		if _, err := r.ReadByte(); err != nil {
			return
		}
	}
}
