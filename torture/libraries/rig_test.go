package libraries

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/proxy"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// A rig is a host whose messages the ledger judges.
type rig struct {
	*host
	ledger  *ledger.Ledger
	users   []*user
	streams map[string]*ledger.Stream // of the only producer
}

// A user is a client as the ledger knows it.
type user struct {
	*client
	visit *visit
	seen  *ledger.Conn
	ended chan struct{} // nil until a goroutine reads
	code  int           // of the close frame; after ended
	err   error         // how the stream ended, nil for its proper end; after ended
}

func newRig(t *testing.T, lib library, opts ...gcpool.Option) *rig {
	t.Helper()
	r := &rig{ledger: ledger.New(), streams: make(map[string]*ledger.Stream)}
	r.host = newHost(t, lib, append(opts, gcpool.WithUndelivered(r.ledger.Undelivered))...)
	return r
}

// connect connects id, but does not read yet.
func (r *rig) connect(id string) *user { return r.via(r.addr, id) }

func (r *rig) via(addr, id string) *user {
	r.t.Helper()
	u := &user{}
	u.seen, _ = r.ledger.Connect(id, func(*ledger.Conn) error {
		u.client, u.visit = r.connectVia(addr, id)
		return nil
	})
	r.users = append(r.users, u)
	return u
}

// reader connects id and reads.
func (r *rig) reader(id string) *user {
	u := r.connect(id)
	u.run()
	return u
}

// proxied connects id through a proxy of its own.
func (r *rig) proxied(id string) (*user, *proxy.Proxy) {
	p, err := proxy.New(r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(p.Close)
	return r.via(p.Addr(), id), p
}

// run reads to the end, on a goroutine of its own.
func (u *user) run() {
	u.ended = make(chan struct{})
	go func() {
		defer close(u.ended)
		for u.err == nil {
			u.err = u.step()
		}
		if errors.Is(u.err, errBreach) {
			u.t.Error(u.err)
		}
		whole := u.err == io.EOF || u.err == io.ErrUnexpectedEOF
		u.seen.Torn(u.part)
		u.sending.Lock()
		u.seen.End(whole && !u.deaf)
		u.sending.Unlock()
		if whole {
			u.err = nil
		}
	}()
}

func (u *user) step() error {
	e, err := u.receive()
	switch {
	case err != nil:
		return err
	case e.op == opClose:
		u.code = e.code()
		u.send(final|opClose, e.payload)
	default:
		u.seen.Receive(e.payload)
	}
	return nil
}

func (r *rig) to(id string) *ledger.Stream {
	s := r.streams[id]
	if s == nil {
		s = r.ledger.Stream(1, id)
		r.streams[id] = s
	}
	return s
}

// push pushes size bytes, and waits for room until ctx ends.
func (r *rig) push(ctx context.Context, id string, size int) error {
	return r.to(id).Add(size, func(data []byte) error { return r.stream.AddContext(ctx, id, data) })
}

// pushing pushes all the time until the returned function is called.
func (r *rig) pushing(id string, size int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	s := r.to(id)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			s.Add(size, func(data []byte) error { return r.stream.AddContext(ctx, id, data) })
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// deliver delivers n messages of size bytes, all within patience.
func (r *rig) deliver(id string, n, size int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i := range n {
		if err := r.to(id).Deliver(size, func(data []byte) error { return r.stream.Deliver(ctx, id, data) }); err != nil {
			r.t.Fatalf("Deliver %d to %s: %v", i, id, err)
		}
	}
}

// stats samples the pool.
func (r *rig) stats() gcpool.Stats {
	s := r.pool.Stats()[0]
	r.ledger.Sample(s, ledger.Bounds{Bytes: 8 << 20})
	return s
}

// done shuts the pool down, lets every client read to the end, and asks the ledger.
func (r *rig) done() (gcpool.Stats, error) {
	r.t.Helper()
	err := r.shutdown()
	return r.judge(), err
}

// judge lets every client read to the end of a pool that is shut down, and asks the ledger.
func (r *rig) judge() gcpool.Stats {
	r.t.Helper()
	for _, u := range r.users {
		if u.ended == nil {
			u.run()
		}
	}
	for _, u := range r.users {
		select {
		case <-u.ended:
		case <-time.After(patience):
			r.t.Error("a stream does not end")
		}
		u.Close()
	}
	s := r.pool.Stats()[0]
	r.ledger.Final(s)
	if err := r.ledger.Check(); err != nil {
		r.t.Error(err)
	}
	return s
}
