// Package cluster pushes to users wherever they are connected. Each process of a cluster is a
// node: a [gcpool.Pool] and a connection to NATS. The nodes find each other's users over NATS.
//
//	nc, err := nats.Connect(url,
//		nats.MaxReconnects(-1), nats.ReconnectWait(250*time.Millisecond),
//		nats.PingInterval(2*time.Second), nats.FlusherTimeout(2*time.Second), nats.IgnoreAuthErrorAbort())
//	node, err := cluster.Join(pool, nc)
//	...
//	node.Leave(ctx) // after pool.Shutdown and before nc.Close; the README has all the steps
//
// The rest of the application stays the same. StreamPool.Add on any node reaches the id on the
// node where it is connected, and the outcome comes back: written, or undelivered for the same
// reasons as without a cluster.
//
// # Delivery
//
// A message for an id that is connected to this node does not touch NATS. Every other id is a NATS
// subject, and the node that has the id subscribes to it. If no node subscribes, NATS says so at
// once, and the outcome is [gcpool.ErrNotConnected]. If NATS or the other node is lost while the
// message is on its way, the outcome is [ErrUncertain], and the message is never sent a second
// time.
//
// # Order
//
// Messages of one producer to one id arrive in the order in which Add accepted them, even while the
// user moves from node to node. A Broadcast has no order with such messages. It may overtake them,
// and they may overtake it.
//
// # One connection
//
// The newest connection of an id wins in the whole cluster. The older connection is closed, and the
// messages that waited for it follow to the new one. A node learns of a connection on another node
// as soon as NATS delivers the announcement. Until then both connections are served.
//
// # Goroutines
//
// Until Leave, a node runs three goroutines, and nats.go one more for it. While Broadcasts wait for
// slow readers of a pool, that pool takes another. An id takes no goroutine, only a NATS
// subscription.
package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"github.com/nulijiabei/gcpool"
)

// ErrUncertain is the outcome of a message that left this node and got no answer within
// [WithTimeout], or within a second if another node has its id by then. The message may have
// been delivered.
var ErrUncertain = errors.New("gcpool/cluster: node or NATS lost, may have been delivered")

// An oversize is ErrTooLarge with another text, because the text of ErrTooLarge names the outbox.
type oversize struct{}

func (oversize) Error() string { return "gcpool/cluster: message larger than max_payload of NATS" }

func (oversize) Unwrap() error { return gcpool.ErrTooLarge }

var (
	errTooLarge error = oversize{}
	errAway           = fmt.Errorf("%w: no connection to NATS", gcpool.ErrNotConnected)
	errOpen           = errors.New("no outcome yet")
	errNowhere        = fmt.Errorf("%w: no node took it", gcpool.ErrNotConnected)
	errClosed         = fmt.Errorf("%w for good, so this node can only leave", nats.ErrConnectionClosed)
	errCut            = errors.New("gcpool/cluster: the connection to NATS is lost")
	errDeaf           = errors.New("gcpool/cluster: NATS does not answer, connecting again")
	errOverflow       = errors.New("gcpool/cluster: NATS does not keep up with Broadcast")
	errPages          = errors.New("a part of the answer is missing, or makes no sense")
)

const (
	// tick is how often deadlines are checked.
	tick = 100 * time.Millisecond
	// retryDelay is the first pause before a message whose id has just moved is sent again. The
	// pauses grow as the search for the id goes on, up to maxRetryDelay.
	retryDelay    = 2 * time.Millisecond
	maxRetryDelay = 50 * time.Millisecond
	// heartbeat is how often a node announces that it is alive. A node counts as gone after
	// memberTimeout without a heartbeat.
	heartbeat     = time.Second
	memberTimeout = 7 * heartbeat / 2
	// natsTimeout is how long NATS may be silent before the node reconnects. It is long enough that
	// a server that is merely slow does not lose its nodes.
	natsTimeout = 5 * heartbeat
	// hintTTL is the shortest time for which a node remembers where an id was last.
	hintTTL = time.Second
	// maxInFlight bounds the requests that have been out for less than two ticks, so that the
	// requests of many nodes fit into a node's inbox.
	maxInFlight = 4096
	inbox       = 1 << 16
	// broadcastBytes bounds the Broadcasts that wait for NATS, and those that wait for the readers
	// of a pool.
	broadcastBytes = 64 << 20
	// maxNodes bounds the other nodes, maxName the bytes of a node's name, and of a prefix.
	maxNodes = 10_000
	maxName  = 256
	// piece is how many bytes of answers or ids go into one NATS message.
	piece = 32 << 10
)

// A Node represents this process in a cluster. Join makes it. The methods of any other Node, such
// as a nil one, return gcpool.ErrInvalid, or the zero value. All methods may be called from any
// number of goroutines at once.
type Node struct {
	incoming

	subs    []*nats.Subscription // all but those of ids
	changed chan struct{}        // wakes the announcer
	left    chan struct{}        // closed when Leave has ended
	err     error                // what Leave returned; valid once left is closed

	// Guarded by mu.
	dirty map[key]bool // ids that came or went, for the announcer

	ids   atomic.Int64 // how many are announced
	stale atomic.Bool  // the server has subscriptions that nats.go has forgotten
}

// A key names an id of a pool.
type key struct{ pool, id string }

// Join connects pool to the other nodes that have joined with the same prefix, over nc. It
// announces the ids of pool: those that are already connected, and those that connect later. Join
// may be called before or after Register. Call it before Start: without a cluster, messages to ids
// on other nodes are undelivered.
//
// Join waits for one round trip to NATS, no longer than WithTimeout. Meanwhile, messages for ids
// that are not connected here wait. It returns gcpool.ErrInvalid for a nil pool, a nil connection,
// nats.NoEcho or an invalid option; nats.ErrConnectionClosed if nc is not connected;
// nats.ErrPermissionViolation if NATS denies a permission that the README lists;
// nats.ErrMaxSubscriptionsExceeded if it allows fewer subscriptions than a node needs, or if nc has
// met that limit before; nats.ErrHeadersNotSupported before NATS 2.2; gcpool.ErrRegistered if pool
// is in a cluster already; and gcpool.ErrClosed after the Shutdown of pool.
//
// TLS, credentials and permissions come with nc. Set MaxReconnects(-1) and IgnoreAuthErrorAbort,
// because a node whose nc is closed permanently can only leave. If NATS does not answer for 5 s,
// the node reconnects. A write that nats.go has begun delays the reconnect by up to
// nats.FlusherTimeout; set it to 2 s, because the default is a minute. Use each nc, and each pool,
// for one Node only.
func Join(pool *gcpool.Pool, nc *nats.Conn, opts ...Option) (*Node, error) {
	n := newNode()
	n.pool, n.local, n.nc = pool, gcpool.NewLocal(pool), nc
	for _, opt := range opts {
		if opt != nil {
			opt(n)
		}
	}
	n.name = cmp.Or(n.name, n.id)
	if err := n.check(); err != nil {
		return nil, err
	}
	n.limit = int(nc.MaxPayload())
	if err := pool.SetCluster(remote{n}); err != nil {
		return nil, err // neither NATS nor any other node knows of this node yet
	}
	if err := n.subscribe(); err != nil {
		_ = pool.SetCluster(nil) // fails after Shutdown
		n.unsubscribe()
		n.ended.Store(true)
		n.sweep()
		return nil, fmt.Errorf("gcpool/cluster: %w", err)
	}
	n.watch()
	s := &announcer{Node: n, entries: map[key]*entry{}, held: map[*entry]time.Time{}, resumes: nc.Stats().Reconnects}
	n.running.Go(n.send)
	n.running.Go(n.receive)
	n.running.Go(s.announce)
	return n, nil
}

// newNode returns a node with the default options. It does nothing yet.
func newNode() *Node {
	b := &bus{
		prefix: "gcpool", timeout: 5 * time.Second, id: nuid.Next(), clock: startClock(),
		control: make(chan *nats.Msg, inbox), strangers: make(chan string, 64), stop: make(chan struct{}),
		members: map[string]*member{},
	}
	b.ticks(time.Now())
	out := &outgoing{
		bus: b, limit: 1 << 20, sending: make(chan struct{}, 1), out: map[uint64]*request{}, slots: map[string]int{},
		hints: [2]map[key]string{{}, {}}, retries: map[key]retry{},
	}
	return &Node{
		incoming: incoming{
			outgoing: out, in: make(chan *nats.Msg, inbox),
			deliveries: map[origin]*delivery{}, broadcasts: map[string]*broadcast{},
		},
		changed: make(chan struct{}, 1), left: make(chan struct{}), dirty: map[key]bool{},
	}
}

// Err returns the last error, or nil if there was none. It can be an error of NATS, such as a lost
// connection, a slow consumer or a subject that is not permitted, or a malformed message from
// another node. Err continues to return it after its cause is gone. The node also logs errors, at
// most one per second; a lost or closed connection is always logged.
func (n *Node) Err() error {
	if !n.joined() {
		return fmt.Errorf("%w: no node", gcpool.ErrInvalid)
	}
	if err := n.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// Name returns the name of the node; see [WithName].
func (n *Node) Name() string {
	if !n.joined() {
		return ""
	}
	return n.name
}

// joined reports whether Join has made n.
func (n *Node) joined() bool { return n != nil && n.outgoing != nil }
