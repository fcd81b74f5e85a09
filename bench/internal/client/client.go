// Package client has the benchmark's WebSocket clients: thousands in one process of their
// own, which read raw TCP and check every byte. It does as little as it can, because it
// shares the processors with the server.
package client

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/clock"
	"github.com/nulijiabei/gcpool/bench/internal/peers"
)

// Client is the set of connections. The benchmark's main process calls its exported
// methods through net/rpc.
type Client struct {
	conns  []*conn
	poll   *poller
	closed atomic.Bool
	rest   atomic.Bool // read in rounds, not at once

	mu   sync.Mutex // held while bytes are checked
	test round
}

// round has the measurements from one Prepare to the next.
type round struct {
	Prepare
	began   int64
	count   int           // messages received
	healthy int           // messages received by users that should read
	last    int64         // when the last message was read
	late    []int64       // nanoseconds of each message, with Prepare.Latency
	err     error         // the first fault
	failed  chan struct{} // closed with err
	target  int           // messages after which done is closed; -1 is none
	partial bool          // only healthy counts for target
	done    chan struct{}
}

// Connect says what to connect to.
type Connect struct {
	Addr    string
	Conns   int
	Dialect peers.Dialect
	Stall   int // with n, every nth user will stop reading; 0 is none
}

// Prepare begins a round.
type Prepare struct {
	Size    int  // bytes of each payload
	Latency bool // payloads carry the time at which they were due
	Rest    bool // read in rounds, to measure throughput and not the time of each message
}

// Finish waits for the end of a round.
type Finish struct {
	Total    int           // messages that must arrive
	Healthy  bool          // count only messages of users that should read
	AtOnce   bool          // do not wait
	Patience time.Duration // how long to wait while nothing arrives
}

// Result is the result of a round.
type Result struct {
	Count    int
	Last     int64 // when the last message was read, on clock.Now
	P50, P99 time.Duration
	Max      time.Duration
	Fault    string // what was wrong with the messages; empty if nothing
}

// Connect connects all users, a few at a time, and starts reading.
func (k *Client) Connect(c Connect, _ *struct{}) (err error) {
	if k.poll, err = newPoller(); err != nil {
		return err
	}
	k.conns = make([]*conn, c.Conns)
	errs := make(chan error, 16)
	for first := range cap(errs) {
		go func() {
			var err error
			for user := first; user < c.Conns && err == nil; user += cap(errs) {
				err = k.connect(c, user)
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		err = errors.Join(err, <-errs)
	}
	if err == nil {
		k.test.reset(Prepare{})
		go k.poll.run(k)
	}
	return err
}

func (k *Client) connect(c Connect, user int) error {
	stalls := c.Stall > 0 && user%c.Stall == c.Stall-1
	nc, err := dial(c.Addr, user, stalls)
	if err != nil {
		return err
	}
	k.conns[user] = &conn{user: user, stalls: stalls, dialect: c.Dialect}
	if c.Dialect == peers.Centrifuge {
		if _, err := nc.Write(centrifugeConnect); err != nil {
			return err
		}
	}
	k.conns[user].socket, err = k.poll.add(user, nc)
	return err
}

// Prepare begins a round. Messages that arrive from now on count for it.
func (k *Client) Prepare(p Prepare, _ *struct{}) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.test.err
	k.test.reset(p)
	k.rest.Store(p.Rest)
	return err
}

// Finish waits until the round's messages have arrived, none has arrived for the time of Patience,
// or a fault has been found.
func (k *Client) Finish(f Finish, r *Result) error {
	if f.AtOnce {
		*r = k.result(f)
		return nil
	}
	k.rest.Store(false)
	k.mu.Lock()
	k.test.target, k.test.partial = f.Total, f.Healthy
	k.test.check()
	done, failed := k.test.done, k.test.failed
	k.mu.Unlock()
	for before := -1; ; {
		select {
		case <-done:
		case <-failed:
		case <-time.After(f.Patience):
		}
		*r = k.result(f)
		if r.Count == before || r.Count >= f.Total || r.Fault != "" {
			break
		}
		before = r.Count
	}
	if r.Fault == "" && r.Count != f.Total {
		r.Fault = fmt.Sprintf("%d of %d messages arrived", r.Count, f.Total)
	}
	return nil
}

// Stall makes the users that Connect chose stop reading.
func (k *Client) Stall(_ struct{}, _ *struct{}) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		if c.stalls {
			c.stalled = true
			k.poll.remove(c.socket)
		}
	}
	return nil
}

// Close ends all connections.
func (k *Client) Close() {
	k.closed.Store(true)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		if c != nil {
			c.socket.close()
		}
	}
}

// result returns the state of the round.
func (k *Client) result(f Finish) Result {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := &k.test
	r := Result{Count: t.count, Last: t.last}
	if f.Healthy {
		r.Count = t.healthy
	}
	if t.err != nil {
		r.Fault = t.err.Error()
	}
	if late := slices.Sorted(slices.Values(t.late)); len(late) > 0 {
		at := func(share float64) time.Duration { return time.Duration(late[int(share*float64(len(late)-1))]) }
		r.P50, r.P99, r.Max = at(0.5), at(0.99), at(1)
	}
	return r
}

// arrived takes the bytes in b: first those that c had left over, then those that were read
// now. The poller calls it, from one goroutine at a time for each connection.
func (k *Client) arrived(c *conn, b []byte, now int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	left, err := c.feed(b, &k.test, now)
	c.left = append(c.left[:0], left...)
	if err != nil {
		k.test.fail(err)
	}
	k.test.check()
}

// ended is called when c can no longer be read.
func (k *Client) ended(c *conn, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.closed.Load() && !c.stalled {
		k.test.fail(fmt.Errorf("user %d: connection ended: %w", c.user, err))
	}
}

func (t *round) reset(p Prepare) {
	*t = round{Prepare: p, began: clock.Now(), late: t.late[:0], target: -1,
		failed: make(chan struct{}), done: make(chan struct{})}
}

func (t *round) fail(err error) {
	if t.err == nil {
		t.err = err
		close(t.failed)
	}
}

// check closes done when the target has been reached.
func (t *round) check() {
	count := t.count
	if t.partial {
		count = t.healthy
	}
	if t.target >= 0 && count >= t.target {
		t.target = -1
		close(t.done)
	}
}
