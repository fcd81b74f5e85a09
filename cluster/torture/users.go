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
	perMove  = time.Second / 30 // between two moves, counting all users
)

// A load is a number of users who connect to random nodes, read, and now and then move to another.
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

// live is the life of a user: when her connection ends, or when she moves, she opens another. When
// she moves, the node of her old connection closes it.
func (c *load) live(id string) {
	ended := make(chan *websocket.Conn, 100)
	var open *websocket.Conn
	var lost time.Time // when her last connection ended
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
					time.AfterFunc(5*time.Second, func() { before.Close() }) // in case its node is dead
				}
			}
		}
	}
}

// dial connects a user to a node and starts to read. It returns nil if that fails or takes too
// long.
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
