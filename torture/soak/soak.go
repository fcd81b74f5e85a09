package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
	"golang.org/x/net/websocket"
)

const (
	lanes   = 4
	window  = 8 << 10  // a peer's receive buffer, and every other send buffer
	outbox  = 32 << 10 // of each id
	mailbox = 1 << 20
	buffer  = 1000
	largest = 4 << 10 // message

	patience = 2 * time.Second // with peers: the write timeout and the heartbeat
)

// A lane is one pool, with options of its own and the ledger of its messages.
type lane struct {
	name   string
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
	ledger *ledger.Ledger
	bounds ledger.Bounds
	users  []*user
}

// soak is one run of the program.
type soak struct {
	settings
	goodbye time.Duration // for Shutdown
	pool    *gcpool.Pool
	lanes   []*lane
	users   []*user

	http, raw net.Listener
	server    *http.Server
	calls     sync.Map // of *call by number
	number    atomic.Uint64
	stalled   atomic.Int64
	open      atomic.Int64 // sessions that have not ended

	quit      chan struct{} // closed when no user connects any more
	serving   sync.WaitGroup
	living    sync.WaitGroup // users and the director
	reading   sync.WaitGroup // sessions
	producing sync.WaitGroup
	complaint complaint
}

// complaint is the first line that net/http logs, such as a panic.
type complaint struct{ atomic.Pointer[string] }

func (c *complaint) Write(p []byte) (int, error) {
	text := string(p)
	c.CompareAndSwap(nil, &text)
	return len(p), nil
}

// newSoak returns a soak whose server runs, but whose users do not run yet.
func newSoak(set settings) (*soak, error) {
	s := &soak{settings: set, goodbye: 30 * time.Second, quit: make(chan struct{})}
	s.pool = gcpool.NewPool(gcpool.WithOutbox(outbox), gcpool.WithBuffer(buffer), gcpool.WithWriteTimeout(patience),
		gcpool.WithHeartbeat(patience), gcpool.WithLogger(slog.New(slog.DiscardHandler)))
	for i, l := range []struct {
		name string
		opt  gcpool.Option
	}{
		{"disconnect", gcpool.WithOverflow(gcpool.Disconnect)},
		{"oldest", gcpool.WithOverflow(gcpool.DropOldest)},
		{"newest", gcpool.WithOverflow(gcpool.DropNewest)},
		{"mailbox", gcpool.WithMailbox(time.Second, mailbox)},
	} {
		if err := s.register(l.name, i, l.opt); err != nil {
			return nil, err
		}
	}
	return s, s.listen()
}

// register makes lane number i, with its share of the users.
func (s *soak) register(name string, i int, opt gcpool.Option) error {
	l := &lane{name: name, ledger: ledger.New()}
	if err := s.pool.Register(name, opt, gcpool.WithUndelivered(l.ledger.Undelivered)); err != nil {
		return err
	}
	l.conns, l.stream = s.pool.GetConn(name), s.pool.GetStream(name)
	for n := i; n < s.conns; n += lanes {
		u := &user{soak: s, lane: l, id: fmt.Sprint("user-", n), orders: make(chan order, 1),
			rnd: rand.New(rand.NewPCG(s.seed, uint64(n)))}
		l.users = append(l.users, u)
		s.users = append(s.users, u)
	}
	// The reports of a full outbox wait for the hook, and more come
	// once fewer than the buffer are waiting.
	l.bounds = ledger.Bounds{Connections: len(l.users), Bytes: len(l.users)*outbox + mailbox + (buffer+100)*largest}
	s.lanes = append(s.lanes, l)
	return nil
}

// listen starts the servers.
func (s *soak) listen() (err error) {
	if s.http, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	if s.raw, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		s.http.Close()
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/plain", websocket.Handler(s.hello))
	mux.Handle("/upgraded", gcpool.Upgrade(websocket.Handler(s.hello)))
	for path, h := range s.libraries() {
		mux.Handle(path, gcpool.Upgrade(h))
	}
	s.server = &http.Server{Handler: mux, ErrorLog: log.New(&s.complaint, "", 0)}
	s.serving.Go(func() { s.server.Serve(&listener{Listener: s.http}) })
	s.serving.Go(func() { s.accept(&listener{Listener: s.raw}) })
	s.pool.Start()
	return nil
}

// soakFor runs a soak and returns what was broken.
func soakFor(ctx context.Context, set settings, out io.Writer) ([]string, error) {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close() // the runtime's own descriptors come with the first socket
	}
	before := ledger.Measure(true)
	breaches, forgotten, err := soakOnce(ctx, set, out)
	if err != nil {
		return nil, err
	}
	return append(breaches, left(before, forgotten, set.ending)...), nil
}

// soakOnce is soakFor without the check for what is left behind. When it has returned, nothing
// here may still refer to its soak.
func soakOnce(ctx context.Context, set settings, out io.Writer) ([]string, func(time.Duration) error, error) {
	s, err := newSoak(set)
	if err != nil {
		return nil, nil, err
	}
	rec := newRecord(s, out)
	over, cancel := context.WithTimeout(ctx, set.length)
	defer cancel()
	for _, u := range s.users {
		s.living.Go(u.live)
	}
	s.living.Go(s.direct)
	s.produce(over)
	rec.watch(over)
	s.producing.Wait()
	s.finish(rec)
	return rec.breaches, ledger.Forgotten(s.pool), nil
}

// finish shuts everything down and judges it.
func (s *soak) finish(rec *record) {
	close(s.quit)
	s.living.Wait()
	if s.meddle != nil {
		s.meddle(s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.goodbye)
	defer cancel()
	if err := s.pool.Shutdown(ctx); err != nil {
		rec.breach("Shutdown: %v", err)
	}
	stats := s.pool.Stats()
	for _, u := range s.users {
		u.release()
	}
	if !ends(&s.reading, s.ending) {
		rec.breach("%d connections were not closed by the server", s.open.Load())
		for _, u := range s.users {
			u.drop()
		}
		s.reading.Wait()
	}
	s.raw.Close()
	s.server.Close()
	s.serving.Wait()
	rec.judge(s, stats)
}

// ends reports whether all of wg end within d.
func ends(wg *sync.WaitGroup, d time.Duration) bool {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}
