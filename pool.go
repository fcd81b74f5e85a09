package gcpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool/internal/outbox"
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
	ErrTooLarge = outbox.ErrTooLarge
	// ErrNotConnected is the outcome of a message whose id was not connected,
	// or whose connection failed; then it wraps the failure as well. Get
	// returns it for an id that is not connected.
	ErrNotConnected = outbox.ErrNotConnected
	// ErrSlow is the outcome of a message whose peer took nothing for as long
	// as WithWriteTimeout, or that gave way when the outbox was full.
	ErrSlow = outbox.ErrSlow
	// ErrDeleted is the outcome of a message that waited when Del or DelConn
	// removed the connection.
	ErrDeleted = outbox.ErrDeleted
	// ErrExpired is the outcome of a message that waited in the mailbox for
	// longer than its ttl, or gave way there to newer ones.
	ErrExpired = outbox.ErrExpired
	// ErrClosed is returned, once Shutdown has begun, by all that would add
	// something, and by Get for an id that is not connected. It is the outcome of
	// what Shutdown could not deliver in time.
	ErrClosed = outbox.ErrClosed
)

// A Pool is a registry of named pools. Each name has a [ConnPool], which knows
// the connections, and a [StreamPool], which takes the messages.
//
// All methods may be called from any number of goroutines at once.
type Pool struct {
	defaults []Option

	// Lock order: Pool.mu, ConnPool.mu, then an outbox's, then one of the leaves,
	// StreamPool.mu and those in internal/outbox. None is held while writing,
	// closing, logging, sending on a channel or calling the application.
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

// Register makes the pools of a name; opts override the defaults of NewPool.
// It returns ErrRegistered if the name is taken, and changes nothing then;
// ErrInvalid for an option without meaning; ErrClosed after Shutdown. After
// Start the new pool is started at once. It does not block.
func (p *Pool) Register(name string, opts ...Option) error {
	c := outbox.Config{
		Pool:         name,
		Buffer:       1000,
		Outbox:       1 << 20,
		WriteTimeout: 10 * time.Second,
		Heartbeat:    15 * time.Second,
		Newline:      true,
	}
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
	s := newStreamPool(newConnPool(c))
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
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.pools[name]
}

// Start has the messages of every pool delivered, those that were added before
// and those of pools that are registered later. More calls do nothing. It does
// not block.
func (p *Pool) Start() {
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
			return p.err
		case <-ctx.Done():
			return ctx.Err()
		}
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

// Stats are the figures of one pool at one moment. Accepted is always the sum
// of Written, Forwarded, Undelivered and Waiting; counters count since Register.
type Stats struct {
	Name        string
	Connections int // ids that are connected, Joins - Leaves

	// Messages accepted that have no outcome yet, and their payload in bytes; how
	// much of it may wait for one id, and in the mailbox, 0 without one.
	Waiting, WaitingBytes, OutboxLimit, MailboxLimit int

	// Written means that the system took every byte, Forwarded that this was so
	// in another process, Undelivered that the message was reported, or its
	// Deliver returned. WrittenBytes is payload, without newlines and headers.
	Accepted, Written, Forwarded, Undelivered, WrittenBytes uint64

	// Undelivered, by what the error wraps; Other is a [Cluster]'s own.
	NotConnected, Slow, Deleted, Expired, Closed, Other uint64

	Joins, Leaves, Takeovers uint64 // a takeover is neither of the others
	Stalled                  int    // connections whose peer holds up a write, for 5 ms or more

	// Latency is how many messages took up to 100 µs << i from Add to written, the
	// last: any more. It is a sample of one in 64 writes or fewer.
	Latency    [16]uint64
	LatencySum time.Duration // of the messages in Latency
}

// Stats returns a snapshot of every pool, by name, whose cost does not depend on
// the number of connections. It does not block.
func (p *Pool) Stats() []Stats {
	p.mu.RLock()
	streams := slices.Collect(maps.Values(p.pools))
	p.mu.RUnlock()
	all := make([]Stats, 0, len(streams))
	for _, s := range streams {
		all = append(all, Stats(s.conns.group.Stats()))
	}
	slices.SortFunc(all, func(a, b Stats) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// An Option sets one thing about a pool; the last one wins, Register's over NewPool's.
type Option func(*outbox.Config)

// Overflow says what gives way when the outbox of an id is full and its peer has
// taken nothing for a second; one that reads is waited for. Others are ErrInvalid.
type Overflow int

const (
	// Disconnect closes the connection; all that waits for it is reported with
	// ErrSlow, or goes to the mailbox.
	Disconnect = Overflow(outbox.Disconnect)
	// DropOldest reports the messages that have waited longest with ErrSlow, as many
	// as the new one needs room; it alone where what is being written leaves none.
	DropOldest = Overflow(outbox.DropOldest)
	// DropNewest reports the new message with ErrSlow.
	DropNewest = Overflow(outbox.DropNewest)
)

// WithBuffer sets how many messages may wait for Start, and how many reports
// for a slow hook, before Add waits. It must be positive and at most 1<<24; room
// for that many is set aside. The default is 1000.
func WithBuffer(messages int) Option { return func(c *outbox.Config) { c.Buffer = messages } }

// WithOutbox sets how many bytes of payload may wait for one id. Beside them it
// takes a few bytes for each message, and no more than about as much again for
// very small ones. It must be positive; the default is 1 MiB.
func WithOutbox(bytes int) Option { return func(c *outbox.Config) { c.Outbox = bytes } }

// WithOverflow sets what gives way when an outbox is full; by default Disconnect.
func WithOverflow(o Overflow) Option {
	return func(c *outbox.Config) { c.Overflow = outbox.Overflow(o) }
}

// WithWriteTimeout sets how long a peer may take nothing before it is closed,
// and what waits for it reported with ErrSlow. Progress is seen in pieces of
// 64 KiB, but on a WebSocket without [Upgrade], and on a net.Conn other than
// TCP, TLS and Unix, only as whole messages: there d must do for the largest.
// It must be positive; the default is 10 s.
func WithWriteTimeout(d time.Duration) Option {
	return func(c *outbox.Config) { c.WriteTimeout = d }
}

// WithHeartbeat has a WebSocket to which nothing was written for d pinged, so
// that a dead one is found. One under [Upgrade] is pinged when nothing came from
// it for d, and closed (1001) when nothing came for 2d, so its handler must keep
// reading, and its peer must not need that long for what the system buffers before
// the ping. Looked at once a second, or four times in d. 0 is off; the default 15 s.
func WithHeartbeat(d time.Duration) Option { return func(c *outbox.Config) { c.Heartbeat = d } }

// WithMailbox has messages for ids that are not connected wait for them, each
// for up to ttl since its id went, or since Add, and all together up to so many
// bytes of payload, and of ids beyond 128 bytes; the oldest give way, reported with
// ErrExpired. Without it, and with a zero, they are reported at once.
func WithMailbox(ttl time.Duration, bytes int) Option {
	return func(c *outbox.Config) { c.MailboxTTL, c.MailboxBytes = ttl, bytes }
}

// WithNewline has each payload followed by '\n', as the original gcpool does; by
// default true. Without it a raw connection's peer must know where messages end.
func WithNewline(on bool) Option { return func(c *outbox.Config) { c.Newline = on } }

// WithUndelivered sets the function that is told of each message that was
// accepted and not delivered; there is none by default. It runs on a goroutine
// of the pool's, one call at a time and in order with WithPresence; delivery
// goes on meanwhile. It may call the pool; to push to its own pool it should
// use AddContext with a deadline, since Add waits while more reports than
// WithBuffer wait for it. A panic is recovered and logged.
func WithUndelivered(fn func(Undelivered)) Option {
	return func(c *outbox.Config) {
		if c.Undelivered = nil; fn != nil {
			c.Undelivered = func(id string, data []byte, err error) {
				fn(Undelivered{Pool: c.Pool, ID: id, Data: data, Err: err})
			}
		}
	}
}

// WithPresence sets the function that is told when an id has come or gone;
// there is none by default. A newer connection that takes over is neither. It
// is called as that of WithUndelivered.
func WithPresence(fn func(pool, id string, connected bool)) Option {
	return func(c *outbox.Config) {
		if c.Presence = nil; fn != nil {
			c.Presence = func(id string, connected bool) { fn(c.Pool, id, connected) }
		}
	}
}

// WithLogger sets where joins and leaves are logged, at Debug, and slow peers,
// at Warn; never a payload, and ids only quoted. Lines are left out while it is
// too slow. The default, and nil, is [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(c *outbox.Config) { c.Logger = l } }

// check refuses options without meaning.
func check(c *outbox.Config) error {
	wrong := ""
	switch {
	case c.Buffer < 1 || c.Buffer > 1<<24:
		wrong = "WithBuffer must be positive, and at most 1<<24"
	case c.Outbox < 1:
		wrong = "WithOutbox must be positive"
	case c.Overflow < outbox.Disconnect || c.Overflow > outbox.DropNewest:
		wrong = "WithOverflow of an unknown kind"
	case c.WriteTimeout <= 0:
		wrong = "WithWriteTimeout must be positive"
	case c.Heartbeat < 0:
		wrong = "WithHeartbeat must not be negative"
	case c.MailboxTTL < 0 || c.MailboxBytes < 0:
		wrong = "WithMailbox must not be negative"
	}
	if wrong != "" {
		return fmt.Errorf("%w: %s", ErrInvalid, wrong)
	}
	if c.MailboxTTL == 0 || c.MailboxBytes == 0 { // it is off
		c.MailboxTTL, c.MailboxBytes = 0, 0
	}
	return nil
}
