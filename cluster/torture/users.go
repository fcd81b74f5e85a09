//go:build unix

package main

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"
)

const (
	backoff  = 100 * time.Millisecond
	dialTime = time.Second
	perMove  = time.Second / 30 // between two moves, of whichever user
)

// A load is users that connect to any node, read, and move to another now and then.
type load struct {
	*fleet
	verdict *verdict
	pause   time.Duration // the mean time between two moves of a user
	wait    time.Duration // the longest pause before a user comes back
	moving  atomic.Bool
	over    chan struct{}
	wg      sync.WaitGroup
}

func gather(f *fleet, v *verdict, users int, wait time.Duration) *load {
	c := &load{fleet: f, verdict: v, pause: time.Duration(users) * perMove, wait: wait, over: make(chan struct{})}
	for i := range users {
		c.wg.Go(func() { c.live(userID(i)) })
	}
	return c
}

func (c *load) end() {
	close(c.over)
	c.wg.Wait()
}

// live is what a user does: when her connection ends, or she moves, she opens another.
// The one before is closed by its node then.
func (c *load) live(id string) {
	ended := make(chan *websocket.Conn, 100)
	var open *websocket.Conn
	var lost time.Time // when she had no connection any more
	for {
		if open == nil {
			if open = c.dial(id, ended); open != nil {
				c.verdict.back(lost)
			} else {
				select {
				case <-c.over:
					return
				case <-time.After(backoff):
				}
				continue
			}
		}
		select {
		case <-c.over:
			open.Close()
			return
		case ws := <-ended:
			if ws == open {
				open, lost = nil, time.Now()
				select {
				case <-c.over:
					return
				case <-time.After(rand.N(c.wait + 1)):
				}
			}
		case <-time.After(c.pause/2 + rand.N(c.pause)):
			if c.moving.Load() {
				if ws := c.dial(id, ended); ws != nil {
					before := open
					open = ws
					time.AfterFunc(5*time.Second, func() { before.Close() }) // should its node be dead
				}
			}
		}
	}
}

// dial connects a user to a node, nil if that takes too long, and has her read.
func (c *load) dial(id string, ended chan<- *websocket.Conn) *websocket.Conn {
	addr := c.addr()
	conn, err := net.DialTimeout("tcp", addr, dialTime)
	if err != nil {
		return nil
	}
	config, err := websocket.NewConfig("ws://"+addr+"/?id="+id, "http://"+addr)
	if err != nil {
		return nil
	}
	conn.SetDeadline(time.Now().Add(dialTime))
	ws, err := websocket.NewClient(config, conn)
	if err != nil {
		conn.Close()
		return nil
	}
	conn.SetDeadline(time.Time{})
	c.wg.Go(func() {
		last := map[string]int{} // by node
		for {
			var data string
			if err := websocket.Message.Receive(ws, &data); err != nil {
				ws.Close()
				ended <- ws
				return
			}
			c.verdict.received(id, data, last)
		}
	})
	return ws
}
