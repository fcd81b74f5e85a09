// Package gcpool pushes bytes to a connected user by id, from anywhere in a server. A [Pool] has
// named pools. Each named pool has a [ConnPool], to which a handler adds its connection under an
// id, and a [StreamPool], to which any goroutine adds messages for that id:
//
//	pool := gcpool.NewPool()
//	pool.Register("users")
//	pool.Start()
//
//	pool.GetConn("users").Add("alice", ws)                  // in her handler
//	pool.GetStream("users").Add("alice", []byte(`{"hi":1}`)) // from any goroutine
//
// A connection is a [websocket.Conn] of x/net, or any other [net.Conn]. Wrap the handler in
// [Upgrade] to make WebSockets fast and light. Upgrade also works with any other WebSocket library:
// [Conn] returns the connection to add. [SameOrigin] keeps out pages of other sites, and
// [AllowOrigins] lets in the sites that you name.
//
// # Delivery
//
// Each message that [StreamPool.Add] accepts has exactly one outcome: it is written whole, or it is
// reported once, with the reason, to the [WithUndelivered] hook. [StreamPool.Deliver] and
// [StreamPool.AddFunc] report the outcome of a single message to their caller. A message is
// delivered at most once. Written means that the operating system took every byte, not that the
// peer has read them.
//
// # Order
//
// The messages of one producer for one id arrive in the order in which Add accepted them. This also
// holds when a newer connection takes over: it inherits the waiting messages. If the old connection
// got only part of a message, and its peer certainly cannot use that part, the new connection gets
// the whole message.
//
// # Blocking
//
// A peer that does not read delays no other id. While the outbox of an id is full, Add waits as
// long as the peer keeps reading; see [WithOutbox], [WithOverflow] and [StreamPool.AddContext]. So
// a loop that pushes to many users waits for each slow user in turn, and for up to a second for a
// user who has stopped reading. To bound that wait, use AddContext with a deadline, a goroutine for
// each user, or [StreamPool.Broadcast], which waits for all of them together. No call waits past
// [Pool.Shutdown], or past the end of its context; Shutdown itself may take up to 300 ms more.
//
// # Close codes
//
// When the pool closes a WebSocket, the close frame says why (RFC 6455 section 7.4):
//
//	1000   Del, DelConn, a function of Get that fails, or a library that sent no close frame
//	1001   Shutdown, the peer answered no ping, or the server has ended the request: come back
//	4500   a newer connection has the id: come back only when the user asks
//	other  what Kick was given, or the code of the WebSocket library, such as 1002 or 1009
//
// Codes from 4000 to 4499 ask a client to come back, and codes from 4500 to 4999 ask it to stay
// away. Follow this convention when you call Kick. If two pages of one user both come back after
// 4500, they keep taking the id from each other.
//
// A peer that has stopped reading is closed without a code. So is a peer that needs more than a
// second to take the data already on its way, for example over a slow link: its client sees 1006,
// even in place of 4500, and comes back. Where the pool cannot see whether a peer reads, as without
// [Upgrade] or behind a listener that wraps connections, a takeover gives the peer only about 20 ms
// to take that data.
//
// Without Upgrade, let the handler return without calling Close: now and then x/net's Close sends a
// second close frame, with 1000. Over TLS, it also tries to write something other than
// close_notify, and the client reports a broken record.
//
// # Concurrency
//
// All functions and methods are safe for concurrent use. The pool holds no lock when it calls a
// function of the application, so such a function may call the pool.
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

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/report"
	"github.com/nulijiabei/gcpool/internal/stripes"
)

// These errors say why a call failed or why a message was not delivered. Compare them with
// [errors.Is], because some are wrapped. The text of each error is in quotes.
var (
	// ErrNotRegistered, "gcpool: pool not registered", is returned by the methods of a nil
	// *ConnPool or *StreamPool, which GetConn and GetStream return for an unknown name.
	ErrNotRegistered = errors.New("gcpool: pool not registered")
	// ErrRegistered, "gcpool: pool already registered", is returned by Register for a name that is
	// taken, and by SetCluster if the pool already has a cluster.
	ErrRegistered = errors.New("gcpool: pool already registered")
	// ErrInvalid, "gcpool: invalid argument", is returned for an argument that a call cannot use,
	// such as an empty id, a nil connection, function or context, or an option out of range.
	ErrInvalid = errors.New("gcpool: invalid argument")
	// ErrTooLarge, "gcpool: message larger than the outbox", is returned for a message with more
	// bytes than WithOutbox allows.
	ErrTooLarge = outcome.ErrTooLarge
	// ErrNotConnected, "gcpool: not connected", is the outcome of a message whose id was not
	// connected, or whose connection failed. If the connection failed, ErrNotConnected wraps the
	// failure. Get returns it for an id that is not connected.
	ErrNotConnected = outcome.ErrNotConnected
	// ErrSlow, "gcpool: peer too slow", is the outcome of a message whose peer acknowledged nothing
	// for WithWriteTimeout, or that was dropped because the outbox was full.
	ErrSlow = outcome.ErrSlow
	// ErrDeleted, "gcpool: connection deleted", is the outcome of a message that was waiting when
	// Del, DelConn or Kick removed the connection.
	ErrDeleted = outcome.ErrDeleted
	// ErrExpired, "gcpool: expired in the mailbox", is the outcome of a message that waited in the
	// mailbox for longer than its ttl. If the message was dropped sooner, to make room for newer
	// ones, an error that wraps ErrExpired says so.
	ErrExpired = outcome.ErrExpired
	// ErrKept, "gcpool: not connected, kept in the mailbox", is returned by Deliver for a message
	// that waits in the mailbox because its id is not connected. Like any other message, it has a
	// final outcome later, which is counted, and reported to WithUndelivered if the message was not
	// written.
	ErrKept = outcome.ErrKept
	// ErrNotAccepted, "gcpool: not accepted", is returned by Deliver, together with the error of its
	// context, if the context ends before the message was accepted. Such a message has no outcome.
	ErrNotAccepted = errors.New("gcpool: not accepted")
	// ErrClosed, "gcpool: pool closed", is returned once Shutdown has begun, by every call that
	// would add something, and by Get for an id that is not connected. It is also the outcome of a
	// message that Shutdown could not deliver in time.
	ErrClosed = outcome.ErrClosed
)

// A Pool is a registry of named pools. Each name has a [ConnPool], which knows the connections, and
// a [StreamPool], which takes the messages. [NewPool] makes a Pool. On a nil Pool or the zero Pool,
// Register, SetCluster and Shutdown return ErrInvalid.
//
// All methods are safe for concurrent use.
type Pool struct {
	defaults []Option

	// The order of locks is Pool.mu, ConnPool.mu, the lock of a Backlog, and one of the leaves that
	// docs/architecture.md lists. None is held while writing, closing, logging, sending on a
	// channel that may be full or calling the application.
	mu      stripes.RWMutex
	pools   map[string]*StreamPool
	cluster Cluster // nil if there is none
	started bool
	closed  bool
	ended   chan struct{} // closed when Shutdown has ended
	err     error         // what Shutdown returned; valid once ended is closed
}

// NewPool returns a Pool in which no name is registered yet. The defaults are options for every
// pool; Register may override them.
func NewPool(defaults ...Option) *Pool {
	return &Pool{
		defaults: slices.Clone(defaults),
		pools:    make(map[string]*StreamPool),
		ended:    make(chan struct{}),
	}
}

// check refuses a Pool that NewPool did not make.
func (p *Pool) check() error {
	if p == nil || p.ended == nil {
		return fmt.Errorf("%w: NewPool did not make this Pool", ErrInvalid)
	}
	return nil
}

// Register makes the ConnPool and the StreamPool of name, which may be any string. The opts
// override the defaults of NewPool. After Start, the new pool is started at once. Register returns
// ErrRegistered if the name is taken, and then changes nothing; ErrInvalid for an option out of
// range; and ErrClosed after Shutdown. It does not block.
func (p *Pool) Register(name string, opts ...Option) error {
	if err := p.check(); err != nil {
		return err
	}
	c := config{backlog.Config{
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
	s := &StreamPool{conns: newConnPool(c.Config)}
	s.conns.group.SetRemote(p.cluster)
	p.pools[name] = s
	if p.started {
		s.conns.group.Line.Open(s.drain)
	}
	return nil
}

// GetConn returns the ConnPool of name, or nil if name is not registered. The methods of a nil
// *ConnPool may be called; they return ErrNotRegistered, or the zero value.
func (p *Pool) GetConn(name string) *ConnPool {
	return p.GetStream(name).connections()
}

// GetStream returns the StreamPool of name, or nil if name is not registered. The methods of a nil
// *StreamPool may be called; they return ErrNotRegistered, or the zero value.
func (p *Pool) GetStream(name string) *StreamPool {
	if p == nil {
		return nil
	}
	mu := p.mu.RLock()
	defer mu.RUnlock()
	return p.pools[name]
}

// Start begins delivery in every pool, including pools that are registered later. Messages that
// were added before Start leave now. A message whose id is not connected goes where Add would send
// it now: to the mailbox, to the cluster, or to the WithUndelivered hook. A second call does
// nothing. Start does not block.
func (p *Pool) Start() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = true
	for _, s := range p.pools {
		s.conns.group.Line.Open(s.drain)
	}
}

// Shutdown ends the pool. As soon as it begins, every call that would add something returns
// ErrClosed. Messages for ids that are connected are delivered, even if Start was never called;
// messages in the mailbox are reported with ErrClosed. Then each WebSocket gets a close frame with
// code 1001 (going away, RFC 6455 section 7.4.1), and Shutdown waits until each handler has
// returned or has called Del. A peer that does not leave within WithWriteTimeout is closed. A raw
// connection is closed once its messages are written.
//
// If ctx ends first, Shutdown closes the remaining connections, most of them without a close frame
// if none has been sent yet, reports the messages that still wait, with ErrClosed, and returns the
// error of ctx. That error does not mean that a message was lost: a peer that is asleep does not
// answer the close frame. Look at WithUndelivered or Stats. All that takes up to 300 ms more,
// whatever the peers do. Afterwards no goroutine of the pool runs, unless a hook has not caught up,
// or a connection ignores deadlines and Close.
//
// A second call waits for the first one and returns the same result, or the error of its own ctx if
// that ends first. A hook must not call Shutdown, because Shutdown waits for hooks.
// http.Server.Shutdown ignores hijacked connections: call it first, to refuse new ones, and then
// this method.
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
