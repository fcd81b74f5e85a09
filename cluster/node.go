// Package cluster has gcpool push to users wherever they are connected: the
// nodes of a cluster, each a process with a [gcpool.Pool], find each other's
// users over NATS.
//
//	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.PingInterval(2*time.Second), nats.FlusherTimeout(2*time.Second))
//	node, err := cluster.Join(pool, nc)
//	defer node.Leave(ctx)
//
// Everything else in the application stays as it was. StreamPool.Add on any node
// reaches the id on the node where it is connected, and its outcome comes back:
// written, or undelivered for the same reasons.
//
// # Delivery
//
// An id that is connected here is served as without a cluster; NATS is not
// asked. Each other is a subject, to which its node is subscribed. If nobody
// is, NATS says so, and the outcome is [gcpool.ErrNotConnected] at once. If NATS
// or the node is lost on the way, it is [ErrUncertain], and the message is never
// sent a second time.
//
// # Order
//
// Messages of one producer to one id arrive in the order in which Add accepted
// them, also while the user moves from node to node. A Broadcast goes its own
// way, and may overtake them or be overtaken.
//
// # One connection
//
// The newest connection of an id wins, cluster-wide. The older one is closed,
// and what waited there follows. A node hears of a connection elsewhere within
// a message's time through NATS; until then both are served.
//
// # Goroutines
//
// A node has three goroutines, and two of nats.go's, until Leave; and one for each
// pool in which a Broadcast waits for slow readers. An id costs none: one NATS
// subscription each.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"github.com/nulijiabei/gcpool"
)

// ErrUncertain is the outcome of a message that left this node and of which
// nothing was heard for as long as [WithTimeout]: it may have been delivered.
var ErrUncertain = errors.New("gcpool/cluster: node or NATS lost, may have been delivered")

// An oversize is ErrTooLarge in words of its own: that speaks of the outbox.
type oversize struct{}

func (oversize) Error() string { return "gcpool/cluster: message larger than max_payload of NATS" }
func (oversize) Unwrap() error { return gcpool.ErrTooLarge }

var (
	errTooLarge error = oversize{}
	errAway           = fmt.Errorf("%w: no connection to NATS", gcpool.ErrNotConnected)
	errAstray         = fmt.Errorf("%w: each node says that it is with another", gcpool.ErrNotConnected)
	errThere          = fmt.Errorf("%w: its node was shut down", gcpool.ErrNotConnected)
	errDeaf           = errors.New("gcpool/cluster: NATS does not answer, connecting again")
	errOverflow       = errors.New("gcpool/cluster: NATS does not keep up with Broadcast")
)

const (
	// tick is how often deadlines are looked at, and how long a message may wait
	// for its peer before its origin is told that it is in hand.
	tick = 100 * time.Millisecond
	// pause is how long a message waits whose id has just moved, before its node
	// is looked for again.
	pause = 2 * time.Millisecond
	// beat is how often a node tells the others that it is there; one that has been
	// silent for so long is forgotten.
	beat    = time.Second
	silence = 7 * beat / 2
	// deaf is how long NATS may be silent before the node connects again. It is longer than
	// a server that is stopped for a moment, and shorter than nats.go's own patience.
	deaf = 5 * beat
	// linger is how long a node says where an id has moved.
	linger = time.Second
	// maxInFlight is how many requests may have been out for less than two ticks with
	// nothing heard of them, so that a node's inbox holds those of many.
	maxInFlight = 4096
	inbox       = 1 << 16
	// castBytes is how many bytes of Broadcast may wait for NATS, and for the readers of
	// a pool.
	castBytes = 64 << 20
	// stuck is how many messages may wait for NATS before a node stops to say that it
	// has others in hand.
	stuck = 64
	// mostNodes is how many others there may be, and mostName how long the name of one.
	mostNodes = 10_000
	mostName  = 256
	// piece is how many bytes of small things go into one NATS message.
	piece = 32 << 10
)

// An Option sets one thing about a Node.
type Option func(*Node)

// WithPrefix sets the first token, or tokens, of all subjects. Nodes with
// different prefixes do not see each other. The default is "gcpool".
func WithPrefix(prefix string) Option { return func(n *Node) { n.prefix = prefix } }

// WithName sets what [Node.Where] calls this node, in up to 256 bytes; by default
// a unique string. Names need not be unique, but should.
func WithName(name string) Option { return func(n *Node) { n.name = name } }

// WithTimeout sets how long nothing may be heard of a message that left this
// node before its outcome is ErrUncertain, and how long an id is looked for of which
// each node says that it has moved on. A peer that is slow to take it is not silence,
// for its node says so; nor is it while this process is stopped. It must be at least a
// second; the default is 5 s.
func WithTimeout(d time.Duration) Option { return func(n *Node) { n.timeout = d } }

// WithLogger sets where errors of NATS and malformed messages are logged, at
// Warn; by default, and with nil, [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(n *Node) { n.logs = l } }

// A Node is one process's part in a cluster. All methods may be called from any
// number of goroutines at once.
type Node struct {
	pool    *gcpool.Pool
	nc      *nats.Conn
	prefix  string
	name    string
	timeout time.Duration
	logs    *slog.Logger
	id      string // unique

	in      chan *nats.Msg       // messages for the ids here, and answers
	control chan *nats.Msg       // what other nodes say of themselves
	subs    []*nats.Subscription // all but those of ids
	ours    *nats.Subscription   // answers
	sending chan struct{}        // wakes send
	turning chan struct{}        // wakes steer
	idle    chan struct{}        // taken by receive when it has nothing in hand
	leaving chan struct{}        // closed by Leave
	stop    chan struct{}        // closed when all is settled, or time is over
	steered atomic.Bool          // the ids here have been given up
	running sync.WaitGroup
	gone    atomic.Bool           // Leave has been called
	left    chan struct{}         // closed when it has ended
	came    time.Time             // when its pool had not joined yet
	joined  bool                  // the pool is n's
	self    *atomic.Pointer[Node] // nil after Leave
	err     error                 // what it returned; valid once left is closed

	requests, taken, malformed atomic.Uint64
	fault                      atomic.Pointer[error] // the last one
	faulted                    atomic.Int64          // when it was logged, for one a second is enough

	publishing sync.Mutex // held by who publishes; only send waits for it. mu may be locked under it

	mu       sync.Mutex // under it only the pool is asked for a connection
	queue    []*request // to be sent
	out      map[uint64]*request
	number   uint64
	inFlight int              // how many of out count
	open     int              // requests without an outcome
	buf      []byte           // the request that take has encoded; send's
	posts    []post           // what else is to be sent
	slots    map[string]int   // the post that gathers the answers to a node
	casting  int              // bytes of Broadcast in posts
	casts    map[string]*cast // by pool
	limit    int              // of a NATS message
	away     bool             // no connection to NATS
	ended    bool
	working  map[origin]*reception
	windows  map[string]*window // by node, which of its requests came
	clock    clock
	dirty    map[key]change // ids that came or went, for steer
	moved    map[key]place  // ids that were here a moment ago
	members  map[string]*member
	homes    [2]map[key]home // nodes that answered for an id in the last linger, and the one before
	turned   time.Time       // when the two were
	looked   time.Time       // when deadlines were looked at last
	ids      int             // how many are announced
	unsent   atomic.Bool     // messages may be in a mailbox that NATS did not take
	stale    atomic.Bool     // the server has subscriptions that nats.go has forgotten
	echoed   time.Time       // when NATS last gave back what this node sends itself each second
	resumes  uint64          // reconnects of nc that steer has seen
}

// A key names an id of a pool.
type key struct{ pool, id string }

// Join has pool push to the ids of all nodes that joined with the same prefix,
// over nc. Its ids are announced as they come; those that are connected already
// as well. Join may come before or after Register, but should come before Start,
// for until then what is pushed to ids elsewhere is undelivered.
//
// It waits for one round trip, no longer than WithTimeout. It returns
// [gcpool.ErrInvalid] for a nil pool or connection and an option without meaning,
// [nats.ErrConnectionClosed] if nc is not connected, [nats.ErrPermissionViolation] if NATS
// does not permit what README lists, [nats.ErrHeadersNotSupported] before NATS 2.2, [gcpool.ErrRegistered] if pool is in a cluster already, and
// [gcpool.ErrClosed] after its Shutdown. TLS, credentials and permissions are
// those of nc; it should have MaxReconnects(-1), for a node whose nc is closed
// cannot come back. The node connects again if NATS does not answer for 5 s; a write of
// nats.go that is held up delays that by up to its FlusherTimeout, a minute by default,
// so set 2 s. nats.NoEcho is invalid. One Node should use nc only, and one only a pool.
func Join(pool *gcpool.Pool, nc *nats.Conn, opts ...Option) (*Node, error) {
	n := &Node{
		pool: pool, nc: nc, prefix: "gcpool", timeout: 5 * time.Second, id: nuid.Next(),
		in: make(chan *nats.Msg, inbox), control: make(chan *nats.Msg, inbox),
		sending: make(chan struct{}, 1), turning: make(chan struct{}, 1), idle: make(chan struct{}),
		leaving: make(chan struct{}), left: make(chan struct{}), stop: make(chan struct{}),
		out: map[uint64]*request{}, slots: map[string]int{}, working: map[origin]*reception{}, windows: map[string]*window{},
		dirty: map[key]change{}, moved: map[key]place{}, members: map[string]*member{}, homes: [2]map[key]home{{}, {}},
		casts: map[string]*cast{}, clock: clock{start: time.Now()},
	}
	for _, opt := range opts {
		if opt != nil {
			opt(n)
		}
	}
	if n.name == "" {
		n.name = n.id
	}
	if err := n.check(); err != nil {
		return nil, err
	}
	if err := n.subscribe(); err != nil {
		n.publish(n.subject("s"), append(appendString(nil, n.id), left))
		n.unsubscribe()
		return nil, fmt.Errorf("gcpool/cluster: %w", err)
	}
	n.limit = int(nc.MaxPayload())
	n.self = new(atomic.Pointer[Node])
	n.self.Store(n)
	n.watch()
	n.echoed, n.resumes = time.Now(), nc.Stats().Reconnects
	n.running.Go(n.send)
	n.running.Go(n.receive)
	n.running.Go(n.steer)
	n.came = time.Now()
	if err := pool.SetCluster(seam{n}); err != nil {
		n.Leave(context.Background())
		return nil, err
	}
	n.joined = true
	return n, nil
}

// check refuses what cannot work.
func (n *Node) check() error {
	wrong := ""
	switch {
	case n.pool == nil || n.nc == nil:
		wrong = "nil pool or connection"
	case n.prefix == "" || strings.ContainsAny(n.prefix, " \t\r\n*>") || strings.Contains("."+n.prefix+".", ".."):
		wrong = fmt.Sprintf("WithPrefix(%q) is no subject", n.prefix)
	case len(n.name) > mostName:
		wrong = fmt.Sprintf("WithName must not be longer than %d bytes", mostName)
	case n.nc.Opts.NoEcho:
		wrong = "nats.NoEcho: a node hears itself, to know that NATS is there"
	case n.timeout < time.Second:
		wrong = "WithTimeout must be at least a second"
	case !n.nc.IsConnected():
		return fmt.Errorf("gcpool/cluster: not connected to NATS: %w", nats.ErrConnectionClosed)
	case !n.nc.HeadersSupported():
		return fmt.Errorf("gcpool/cluster: %w", nats.ErrHeadersNotSupported)
	}
	if wrong != "" {
		return fmt.Errorf("%w: %s", gcpool.ErrInvalid, wrong)
	}
	return nil
}

// subscribe has what concerns the node itself come in.
func (n *Node) subscribe() error {
	add := func(sub *nats.Subscription, err error) error {
		if err == nil {
			n.subs = append(n.subs, sub)
		}
		return err
	}
	var err error
	n.ours, err = n.nc.ChanSubscribe(n.subject("r", n.id, "*"), n.in)
	return errors.Join(
		add(n.ours, err),
		add(n.nc.ChanSubscribe(n.subject("d", n.id), n.in)),
		add(n.nc.ChanSubscribe(n.subject("s"), n.control)),
		add(n.nc.ChanSubscribe(n.subject("s", n.id), n.control)),
		add(n.nc.Subscribe(n.subject("b"), n.spread)),
		add(n.nc.Subscribe(n.subject("l", n.id), n.list)),
		(&steward{Node: n}).permitted(),
	)
}

// permitted returns an error if NATS does not permit what a node sends or subscribes to.
// It says so of each before it answers a ping. Only the first concerns other nodes.
func (s *steward) permitted() error {
	before, self := s.nc.LastError(), appendString(nil, s.id)
	s.beatTo(s.subject("s"))
	s.beatTo(s.subject("s", s.id))
	s.publish(s.subject("d", s.id), append(self, probe))
	s.publish(s.subject("r", s.id, "0"), self)
	s.publish(s.subject("b"), appendString(self, ""))
	s.publish(s.subject("p", s.id, "0"), nil)
	for to, reply := range map[string]string{
		s.subject("m", token(""), token("")): s.subject("r", s.id, "0"),
		s.subject("l", s.id):                 s.subject("p", s.id, "0"),
	} {
		if err := s.nc.PublishRequest(to, reply, appendString(self, "")); err != nil {
			return err
		}
	}
	for _, subject := range []string{s.subject("m", token(""), token("")), s.subject("p", s.id, "0")} {
		sub, err := s.nc.SubscribeSync(subject)
		if err != nil {
			return err
		}
		_ = sub.Unsubscribe()
	}
	if err := s.nc.FlushTimeout(s.timeout); err != nil {
		return err
	}
	if err := s.nc.LastError(); err != before && errors.Is(err, nats.ErrPermissionViolation) {
		return err
	}
	return nil
}

func (n *Node) unsubscribe() {
	for _, sub := range n.subs {
		_ = sub.Unsubscribe() // fails if nc is closed, and then it is done
	}
}

// watch has the errors of NATS noted, and passed on to the handler that nc had.
func (n *Node) watch() {
	before, self := n.nc.ErrorHandler(), n.self
	n.nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if n := self.Load(); n != nil { // which nc, that stays, does not keep
			noted := err
			if sub != nil {
				noted = fmt.Errorf("%w: %q", err, sub.Subject)
			}
			n.note(noted)
		}
		if before != nil {
			before(nc, sub, err)
		}
	})
}

// note records an error, and logs it unless another was logged just now. A logger
// may block or panic, hence a goroutine of its own.
func (n *Node) note(err error) {
	n.fault.Store(&err)
	now := time.Now().UnixNano()
	if last := n.faulted.Load(); now-last > int64(time.Second) && n.faulted.CompareAndSwap(last, now) {
		logs := n.logs
		if logs == nil {
			logs = slog.Default()
		}
		go func() {
			defer func() { _ = recover() }()
			logs.Warn("gcpool/cluster: trouble", "node", n.name, "err", err)
		}()
	}
}

// Err returns the last error of NATS, as a slow consumer or a subject that is not
// permitted, or the last message of another node that made no sense; nil if
// there was none. Each is logged too, one a second.
func (n *Node) Err() error {
	if err := n.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// Name returns the node's name, see [WithName].
func (n *Node) Name() string { return n.name }
