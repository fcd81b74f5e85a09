package server

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/bench/internal/clock"
	"github.com/nulijiabei/gcpool/bench/internal/payload"
	"github.com/nulijiabei/gcpool/cluster"
)

// NATS starts a NATS server, which ends with the process.
func (s *Server) NATS(_ struct{}, r *Started) error {
	d, err := natsd.NewServer(&natsd.Options{Host: "127.0.0.1", Port: natsd.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		return err
	}
	d.Start()
	if !d.ReadyForConnections(10 * time.Second) {
		return errors.New("NATS does not start")
	}
	r.Addr = d.ClientURL()
	return nil
}

// Carry is a load from one node to another over the NATS server at Addr.
type Carry struct {
	Load
	Addr string
	Bare bool // NATS alone
}

// Carried is the result of a Carry.
type Carried struct {
	Rate     float64 // messages/s, saturated
	P50, P99 int64   // nanoseconds from one end to the other and back, one message at a time
}

// Carry measures messages from one node to another until their outcomes are
// known, or publish/subscribe and request/reply of NATS alone.
func (s *Server) Carry(c Carry, r *Carried) error {
	w, err := newWay(c)
	if err != nil {
		return err
	}
	defer w.close()
	began, sent := clock.Now(), int64(0)
	var wg sync.WaitGroup
	errs := make([]error, c.Producers)
	for p := range c.Producers {
		wg.Go(func() {
			data := payload.New(c.Size)
			for user := p; errs[p] == nil && clock.Now() < began+int64(c.Window); user = (user + c.Producers) % c.Users {
				errs[p] = w.push(user, data)
				atomic.AddInt64(&sent, 1)
			}
		})
	}
	wg.Wait()
	for w.arrived() < sent {
		if clock.Now() > began+int64(c.Window)+int64(20*time.Second) {
			return fmt.Errorf("%d of %d messages arrived", w.arrived(), sent)
		}
		time.Sleep(100 * time.Microsecond)
	}
	r.Rate = float64(sent) / (float64(clock.Now()-began) / 1e9)
	var times []int64
	data := payload.New(c.Size)
	for began = clock.Now(); clock.Now() < began+int64(c.Window); {
		at := clock.Now()
		errs = append(errs, w.ask(len(times)%c.Users, data))
		times = append(times, clock.Now()-at)
	}
	slices.Sort(times)
	r.P50, r.P99 = times[len(times)/2], times[len(times)*99/100]
	return errors.Join(errs...)
}

// A way brings messages from one node to another.
type way struct {
	push    func(user int, data []byte) error
	ask     func(user int, data []byte) error // and wait for the answer
	arrived func() int64
	close   func()
}

func newWay(c Carry) (*way, error) {
	from, err := nats.Connect(c.Addr)
	if err != nil {
		return nil, err
	}
	to, err := nats.Connect(c.Addr)
	if err != nil {
		return nil, err
	}
	w, make := new(way), nodes
	if c.Bare {
		make = bare
	}
	err = make(w, c, from, to)
	end := w.close
	w.close = func() {
		if end != nil {
			end()
		}
		from.Close()
		to.Close()
	}
	return w, err
}

// bare makes w a way over NATS alone: a subject for each user, as the nodes have one for each id.
func bare(w *way, c Carry, from, to *nats.Conn) error {
	var sent, got atomic.Int64
	subjects, questions := make([]string, c.Users), make([]string, c.Users)
	in := make(chan *nats.Msg, 1<<18)
	go func() {
		for range in {
			got.Add(1)
		}
	}()
	for i := range subjects {
		subjects[i], questions[i] = "bare."+strconv.Itoa(i), "ask."+strconv.Itoa(i)
		if _, err := to.ChanSubscribe(subjects[i], in); err != nil {
			return err
		}
	}
	_, err := to.Subscribe("ask.*", func(m *nats.Msg) { _ = m.Respond(nil) })
	w.push = func(user int, data []byte) error {
		for n := sent.Add(1); n-got.Load() > 1<<17; { // send no more than the subscriber has room for
			runtime.Gosched()
		}
		return from.Publish(subjects[user], data)
	}
	w.ask = func(user int, data []byte) error {
		_, err := from.Request(questions[user], data, 5*time.Second)
		return err
	}
	w.arrived = got.Load
	return errors.Join(err, to.Flush())
}

// nodes makes w a way between two nodes of a cluster. The users are connected to the second.
func nodes(w *way, c Carry, from, to *nats.Conn) error {
	near, far := gcpool.NewPool(), gcpool.NewPool()
	var left []func(context.Context) error
	w.close = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		for _, leave := range left {
			_ = leave(ctx)
		}
	}
	for pool, nc := range map[*gcpool.Pool]*nats.Conn{near: from, far: to} {
		if err := pool.Register("bench"); err != nil {
			return err
		}
		pool.Start()
		node, err := cluster.Join(pool, nc)
		if err != nil {
			return err
		}
		left = append(left, pool.Shutdown, node.Leave)
	}
	names, conns := make([]string, c.Users), make([]memory, c.Users)
	for i := range names {
		names[i] = "user-" + strconv.Itoa(i)
		if err := far.GetConn("bench").Add(names[i], &conns[i]); err != nil {
			return err
		}
	}
	stream := near.GetStream("bench")
	w.push = func(user int, data []byte) error { return stream.Add(names[user], data) }
	w.ask = func(user int, data []byte) error { return stream.Deliver(context.Background(), names[user], data) }
	away := names // their subscriptions reach NATS in any order
	for end := time.Now().Add(20 * time.Second); len(away) > 0; away = away[1:] {
		for stream.Deliver(context.Background(), away[0], nil) != nil {
			if time.Now().After(end) {
				return fmt.Errorf("%s is not found", away[0])
			}
			time.Sleep(time.Millisecond)
		}
	}
	ready := near.Stats()[0].Forwarded
	w.arrived = func() int64 { return int64(near.Stats()[0].Forwarded - ready) }
	return nil
}

// Joined is the cost of ids for a node.
type Joined struct {
	Seconds float64 // until NATS knows of all ids
	Bytes   float64 // for each id, beyond its cost in a pool without a cluster
}

// Join measures the cost of ids that are connected to one node.
func (s *Server) Join(c Carry, r *Joined) error {
	nc, err := nats.Connect(c.Addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	pool := gcpool.NewPool()
	if err := pool.Register("bench"); err != nil {
		return err
	}
	pool.Start()
	conns := make([]memory, c.Users)
	for i := range conns {
		if err := pool.GetConn("bench").Add("user-"+strconv.Itoa(i), &conns[i]); err != nil {
			return err
		}
	}
	before, began := live(), clock.Now()
	node, err := cluster.Join(pool, nc)
	if err != nil {
		return err
	}
	for node.Stats().IDs < c.Users {
		time.Sleep(time.Millisecond)
	}
	if err := nc.FlushTimeout(20 * time.Second); err != nil {
		return err
	}
	r.Seconds = float64(clock.Now()-began) / 1e9
	r.Bytes = float64(live()-before) / float64(c.Users)
	runtime.KeepAlive(conns)
	return nil
}
