// Package gcpool pushes bytes to a connected user by id, from anywhere in a
// server. A [Pool] has named pools; each has a [ConnPool], to which a handler
// adds its connection under an id, and a [StreamPool], to which anybody adds
// messages for that id:
//
//	pool := gcpool.NewPool()
//	pool.Register("users")
//	pool.Start()
//
//	pool.GetConn("users").Add("alice", ws)                  // in her handler
//	pool.GetStream("users").Add("alice", []byte(`{"hi":1}`)) // from any goroutine
//
// A connection is a [websocket.Conn] or any other [net.Conn]. [Upgrade] around
// the handler makes WebSockets fast and light; under it, [Conn] has the connection of any
// other WebSocket library. [SameOrigin] keeps other sites out, and [AllowOrigins] lets in
// those that you name.
//
// # Delivery
//
// Each message that [StreamPool.Add] accepted has one outcome: it is written
// whole, or reported once, with the reason, to [WithUndelivered];
// [StreamPool.Deliver] waits for it. Delivery is at most once. Written means that
// the system took every byte, not that the peer has read it.
//
// # Order
//
// Messages of one producer to one id arrive in the order in which Add accepted
// them, also when the id has a new connection meanwhile: it inherits what waits.
//
// # Blocking
//
// A peer that does not read delays no other id. Add waits for one that does
// while its outbox is full, see [WithOutbox], [WithOverflow] and
// [StreamPool.AddContext]. No call waits longer than its context, or past
// [Pool.Shutdown].
//
// # Close codes
//
// A WebSocket that the pool closes is told why (RFC 6455 section 7.4):
//
//	1000   Del, DelConn, or its handler has returned
//	1001   Shutdown, or the peer answered no ping: come back
//	4500   a newer connection has the id: do not come back by yourself
//	other  what Kick was given, or the WebSocket library's own, such as 1002 or 1009
//
// Codes from 4000 to 4499 tell a client to come back, and those from 4500 to 4999 to stay
// away; keep to that with Kick. Two pages of one user that both come back after 4500 take
// the id from each other for ever. A peer that has stopped reading is closed without a code.
//
// # Concurrency
//
// Everything may be called from any number of goroutines at once. Functions of
// the application are called without a lock, so they may call the pool.
package gcpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool/internal/delivery"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/report"
)

// The reasons why a call, or a message, came to nothing. They are wrapped at
// times; compare with [errors.Is].
var (
	// ErrNotRegistered is returned by the methods of a nil *ConnPool or
	// *StreamPool, which is what GetConn and GetStream return for a name that
	// was not registered.
	ErrNotRegistered = errors.New("gcpool: pool not registered")
	// ErrRegistered is returned by Register for a name that is taken.
	ErrRegistered = errors.New("gcpool: pool already registered")
	// ErrInvalid is returned for an empty id, a nil connection, function or
	// context, and by Register for an option without meaning.
	ErrInvalid = errors.New("gcpool: invalid argument")
	// ErrTooLarge is returned for a message that is larger than WithOutbox.
	ErrTooLarge = outcome.ErrTooLarge
	// ErrNotConnected is the outcome of a message whose id was not connected,
	// or whose connection failed; then it wraps the failure as well. Get
	// returns it for an id that is not connected.
	ErrNotConnected = outcome.ErrNotConnected
	// ErrSlow is the outcome of a message whose peer acknowledged nothing for as
	// long as WithWriteTimeout, or that gave way when the outbox was full.
	ErrSlow = outcome.ErrSlow
	// ErrDeleted is the outcome of a message that waited when Del, DelConn or Kick
	// removed the connection.
	ErrDeleted = outcome.ErrDeleted
	// ErrExpired is the outcome of a message that waited in the mailbox for
	// longer than its ttl, or gave way there to newer ones.
	ErrExpired = outcome.ErrExpired
	// ErrKept is what Deliver returns for a message that waits in the mailbox, since
	// its id is not connected. What becomes of it is counted, and reported to
	// WithUndelivered, as for any other message.
	ErrKept = outcome.ErrKept
	// ErrClosed is returned, once Shutdown has begun, by all that would add
	// something, and by Get for an id that is not connected. It is the outcome of
	// what Shutdown could not deliver in time.
	ErrClosed = outcome.ErrClosed
)

// A Pool is a registry of named pools. Each name has a [ConnPool], which knows
// the connections, and a [StreamPool], which takes the messages. [NewPool] makes
// one; calls that change any other, as the zero Pool or a nil one, return ErrInvalid.
//
// All methods may be called from any number of goroutines at once.
type Pool struct {
	defaults []Option

	// Lock order: Pool.mu, ConnPool.mu, then a Recipient's of internal/delivery, then one of
	// the leaves that docs/architecture.md lists. None is held while writing, closing,
	// logging, sending on a channel or calling the application.
	mu      sync.RWMutex
	pools   map[string]*StreamPool
	cluster Cluster // nil if there is none
	started bool
	closed  bool
	ended   chan struct{} // closed when Shutdown has ended
	err     error         // what it returned; valid once ended is closed
}

// NewPool returns a Pool without pools; the defaults hold where Register is given
// nothing else.
func NewPool(defaults ...Option) *Pool {
	return &Pool{
		defaults: slices.Clone(defaults),
		pools:    make(map[string]*StreamPool),
		ended:    make(chan struct{}),
	}
}

// check refuses what NewPool has not made.
func (p *Pool) check() error {
	if p == nil || p.ended == nil {
		return fmt.Errorf("%w: Pool that NewPool has not made", ErrInvalid)
	}
	return nil
}

// Register makes the pools of a name; opts override the defaults of NewPool.
// It returns ErrRegistered if the name is taken, and changes nothing then;
// ErrInvalid for an option without meaning; ErrClosed after Shutdown. After
// Start the new pool is started at once. It does not block.
func (p *Pool) Register(name string, opts ...Option) error {
	if err := p.check(); err != nil {
		return err
	}
	c := config{delivery.Config{
		Hooks:        report.Hooks{Pool: name, Buffer: 1000},
		Outbox:       1 << 20,
		WriteTimeout: 10 * time.Second,
		Heartbeat:    15 * time.Second,
		Newline:      true,
	}}
	for _, opt := range slices.Concat(p.defaults, opts) {
		if opt != nil {
			opt(&c)
		}
	}
	if err := check(&c); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if p.pools[name] != nil {
		return fmt.Errorf("%w: %q", ErrRegistered, name)
	}
	s := newStreamPool(newConnPool(c.Config))
	s.conns.group.SetRemote(p.cluster)
	p.pools[name] = s
	if p.started {
		s.start()
	}
	return nil
}

// GetConn returns the connections of a name, nil if it is not registered. A
// nil *ConnPool may be used: its methods return ErrNotRegistered.
func (p *Pool) GetConn(name string) *ConnPool {
	if s := p.GetStream(name); s != nil {
		return s.conns
	}
	return nil
}

// GetStream returns the stream of a name, nil if it is not registered. A nil
// *StreamPool may be used: its methods return ErrNotRegistered.
func (p *Pool) GetStream(name string) *StreamPool {
	if p == nil {
		return nil
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.pools[name]
}

// Start has the messages of every pool delivered, those that were added before
// and those of pools that are registered later. What was added for an id that is not
// connected by now goes where Add would have it go: to the mailbox, to the cluster, or to
// WithUndelivered. More calls do nothing. It does not block.
func (p *Pool) Start() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.started = true
	for _, s := range p.pools {
		s.start()
	}
}

// Shutdown ends the pool. From its first moment all that would add something
// returns ErrClosed; what was accepted is delivered, also if Start was never
// called. Then each WebSocket gets a close frame with status 1001 (going away, RFC
// 6455 section 7.4.1), and Shutdown waits for the peers to leave: for the handler
// to return, or Del. Raw connections are closed once they have been served, and a
// peer that does not leave after WithWriteTimeout.
//
// When ctx ends first, what is left is closed, what waits is reported with
// ErrClosed, and ctx's error returned. It then takes up to 300 ms more, however
// peers behave. Afterwards no goroutine of the pool runs, but for a hook that has
// not caught up, or a connection that heeds neither deadline nor Close.
//
// A second call waits for the first, while its own ctx lasts, and returns the same.
// A hook must not call it, for Shutdown waits for hooks. http.Server.Shutdown does
// not know of hijacked connections; call it first, to refuse new ones, then this.
func (p *Pool) Shutdown(ctx context.Context) error {
	if err := p.check(); err != nil {
		return err
	}
	if ctx == nil {
		return fmt.Errorf("%w: nil context", ErrInvalid)
	}
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	streams := slices.Collect(maps.Values(p.pools))
	p.mu.Unlock()
	if !first {
		select {
		case <-p.ended:
		case <-ctx.Done():
			select {
			case <-p.ended:
			default:
				return ctx.Err()
			}
		}
		return p.err
	}
	defer close(p.ended)
	errs := make([]error, len(streams))
	var wg sync.WaitGroup
	for i, s := range streams {
		wg.Go(func() { errs[i] = s.shutdown(ctx) })
	}
	wg.Wait()
	p.err = cmp.Or(errs...)
	return p.err
}
