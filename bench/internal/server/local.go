package server

import (
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/bench/internal/clock"
	"github.com/nulijiabei/gcpool/bench/internal/payload"
	"github.com/nulijiabei/gcpool/metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// Registered is the cost of gcpool's registry: nanoseconds for each call, and bytes for
// each id. It also has the cost that no registry can avoid: a lookup in a bare map, and
// one read of the value.
type Registered struct{ Add, Get, Del, Bytes, Map float64 }

// Registry adds ids on connections in memory, looks them up in any order, and deletes them.
// If there are few ids, it repeats this many times, each time in a new pool, so that the
// map grows in both cases.
func (s *Server) Registry(ids int, r *Registered) error {
	names, conns := make([]string, ids), make([]memory, ids)
	for i := range names {
		names[i] = "user-" + strconv.Itoa(i)
	}
	// Later, ids come in any order, but their bytes lie side by side. This imitates a
	// server, where the bytes of an id that has just arrived are in the cache.
	shuffled := make([]string, ids)
	for i, j := range rand.Perm(ids) {
		shuffled[i] = strings.Clone(names[j])
	}
	passes := max(1, 200_000/ids)
	for pass := range passes {
		var cost Registered
		if err := cost.pass(names, shuffled, conns, pass == 0); err != nil {
			return err
		}
		r.Add += cost.Add / float64(passes)
		r.Get += cost.Get / float64(passes)
		r.Del += cost.Del / float64(passes)
		r.Map += cost.Map / float64(passes)
		r.Bytes += cost.Bytes
	}
	return nil
}

// pass adds the ids, looks them up and deletes them. With weigh, it also measures the
// memory, which takes a long time.
func (r *Registered) pass(ids, shuffled []string, conns []memory, weigh bool) error {
	var before int64
	if weigh {
		before = live()
	}
	pool := gcpool.NewPool()
	if err := pool.Register("bench"); err != nil {
		return err
	}
	c, errs := pool.GetConn("bench"), 0
	count := func(failed bool) {
		if failed {
			errs++
		}
	}
	r.Add = each(len(ids), func(i int) { count(c.Add(ids[i], &conns[i]) != nil) })
	if weigh {
		r.Bytes = float64(live()-before) / float64(len(ids))
	}
	nothing := func(net.Conn) error { return nil }
	r.Get = each(len(ids), func(i int) { count(c.Get(shuffled[i], nothing) != nil) })
	r.Del = each(len(ids), func(i int) { count(!c.Del(shuffled[i])) })
	if errs > 0 || c.Len() != 0 {
		return errors.New("the registry has lost an id")
	}
	bare := make(map[string]*[64]byte)
	for _, id := range ids {
		bare[id] = &[64]byte{1}
	}
	found := 0
	r.Map = each(len(ids), func(i int) { found += int(bare[shuffled[i]][0]) })
	if found != len(ids) {
		return errors.New("the map has lost an id")
	}
	return nil
}

// each returns the nanoseconds of one call.
func each(n int, call func(i int)) float64 {
	began := clock.Now()
	for i := range n {
		call(i)
	}
	return float64(clock.Now()-began) / float64(n)
}

// Added is the cost of an Add, of an Add while the pool is scraped, of sampling an Add's latency,
// and of a send on a bare channel: nanoseconds of elapsed time over all producers.
type Added struct{ Add, Scraped, Sampling, Send, Allocations float64 }

// scrapes is the interval at which Add collects the metrics meanwhile. In production, 15 s
// is usual.
const scrapes = 100 * time.Millisecond

// Add measures gcpool's StreamPool.Add, with connections in memory that take everything at
// once. It also measures a channel of gcpool's default length, which carries the same
// number of bytes, and which one goroutine drains.
func (s *Server) Add(l Load, r *Added) error {
	pool := gcpool.NewPool()
	if err := pool.Register("bench"); err != nil {
		return err
	}
	pool.Start()
	names, conns := make([]string, l.Users), make([]memory, l.Users)
	for i := range names {
		names[i] = "user-" + strconv.Itoa(i)
		if err := pool.GetConn("bench").Add(names[i], &conns[i]); err != nil {
			return err
		}
	}
	stream := pool.GetStream("bench")
	push := func(user int, p []byte) error { return stream.Add(names[user], p) }
	if _, _, err := produce(l, push); err != nil { // makes the allocations that happen only once
		return err
	}
	var err error
	if r.Add, r.Allocations, err = produce(l, push); err != nil {
		return err
	}
	stop := scrape(pool)
	r.Scraped, _, err = produce(l, push)
	if stop(); err != nil {
		return err
	}
	r.Sampling = each(100_000, func(int) { _ = time.Since(started) }) * 2 / sampled
	type message struct {
		id   string
		data [64]byte
	}
	messages := make(chan message, 1000)
	defer close(messages)
	go func() {
		for range messages {
		}
	}()
	r.Send, _, err = produce(l, func(user int, p []byte) error {
		messages <- message{names[user], [64]byte(p)}
		return nil
	})
	return err
}

// started and sampled imitate the pool's sampling of latency: for one message in sampled, the pool
// reads the clock twice.
var started = time.Now()

const sampled = 64

// scrape collects the pool's metrics until stop is called.
func scrape(pool *gcpool.Pool) (stop func()) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewCollector(pool))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if _, err := registry.Gather(); err != nil {
				panic(err)
			}
			select {
			case <-time.After(scrapes):
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// produce lets producers push for a while. It returns the nanoseconds and the allocations of
// one push.
func produce(l Load, push func(user int, p []byte) error) (ns, allocations float64, err error) {
	var wg sync.WaitGroup
	var total atomic.Int64
	errs := make([]error, l.Producers)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := clock.Now()
	for i := range l.Producers {
		wg.Go(func() {
			p := payload.New(l.Size)
			n := 0
			for user := i; errs[i] == nil; n++ {
				if n%64 == 0 && clock.Now() >= began+int64(l.Window) {
					break
				}
				errs[i] = push(user, p)
				if user += l.Producers; user >= l.Users {
					user = i
				}
			}
			total.Add(int64(n))
		})
	}
	wg.Wait()
	took := clock.Now() - began
	runtime.ReadMemStats(&after)
	n := float64(total.Load())
	return float64(took) / n, float64(after.Mallocs-before.Mallocs) / n, errors.Join(errs...)
}

// memory is a connection that takes everything at once and never has anything to
// read.
type memory struct{ _ byte } // not empty, so that each has an address of its own

func (*memory) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (*memory) Write(b []byte) (int, error)      { return len(b), nil }
func (*memory) Close() error                     { return nil }
func (*memory) LocalAddr() net.Addr              { return &net.IPAddr{} }
func (*memory) RemoteAddr() net.Addr             { return &net.IPAddr{} }
func (*memory) SetDeadline(time.Time) error      { return nil }
func (*memory) SetReadDeadline(time.Time) error  { return nil }
func (*memory) SetWriteDeadline(time.Time) error { return nil }
