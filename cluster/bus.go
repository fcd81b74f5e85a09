package cluster

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// A bus is the node's connection to NATS, and its knowledge of the cluster. mu guards the state of
// all parts of a node, so that each decision sees one consistent state. Nothing outside is called
// under mu, except the pool's Since and Info.
type bus struct {
	journal
	pool    *gcpool.Pool
	local   *gcpool.Local
	nc      *nats.Conn
	prefix  string
	timeout time.Duration
	id      string // unique

	control   chan *nats.Msg // announcements of other nodes
	strangers chan string    // nodes that may not know this one, for the announcer
	stop      chan struct{}  // closed when all is settled, or when Leave gives up
	running   sync.WaitGroup

	gone      atomic.Bool // Leave has been called
	withdrawn atomic.Bool // no id is announced any more, and no request is taken
	ended     atomic.Bool // no message is sent any more; see sweep

	malformed atomic.Uint64

	ticked atomic.Pointer[reading] // at the last tick; see now

	mu      sync.Mutex
	clock   clock
	members map[string]*member
}

// A reading is the time of a node, and when the process read it.
type reading struct{ process, node time.Time }

// now returns the time by which a node measures silence. Between two ticks it advances by 200 ms
// at most. So when this process was stopped, or had no processor, the node reads what has come
// before it counts anything as missing.
func (n *bus) now() time.Time {
	r := n.ticked.Load()
	return r.node.Add(min(time.Since(r.process), 2*tick))
}

// ticks notes the time of the node at each tick.
func (n *bus) ticks(now time.Time) { n.ticked.Store(&reading{time.Now(), now}) }

// publish publishes one message, and records an error.
func (n *bus) publish(subject string, b []byte) {
	if err := n.nc.Publish(subject, b); err != nil && !errors.Is(err, nats.ErrConnectionClosed) { // which lookAtNATS notes
		n.note(err)
	}
}

// added returns when the connection of an id here was added, zero if there is none.
func (n *bus) added(k key) time.Time { return n.local.Since(k.pool, k.id) }

// shutDown reports whether the pool of an id that is not connected here has been shut down.
func (n *bus) shutDown(k key) bool {
	return errors.Is(n.pool.GetConn(k.pool).Get(k.id, func(net.Conn) error { return nil }), gcpool.ErrClosed)
}

// timeOf decodes a time of another node, and moves the clock beyond it.
func (n *bus) timeOf(d *decoder) uint64 {
	t := d.number()
	n.mu.Lock()
	defer n.mu.Unlock()
	d.bad = d.bad || !n.clock.hear(t, time.Now())
	return t
}

// memberLocked returns what is known of a node. If that is nothing, it counts as gone until its first
// heartbeat. A node beyond maxNodes is not remembered, so it stays a stranger.
func (n *bus) memberLocked(node string) *member {
	m := n.members[node]
	if m == nil {
		m = &member{gone: true}
		if len(n.members) < maxNodes {
			n.members[node] = m
		}
	}
	m.seen = n.now()
	return m
}

// everybodyLocked returns the nodes that may have taken a request, this node included. No other node
// does; see strangerLocked.
func (n *bus) everybodyLocked() []string {
	nodes := []string{n.id}
	for node, m := range n.members {
		if !m.over && node != n.id {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

const halfHour = uint64(time.Hour / 2 / time.Microsecond)

// strangerLocked reports whether a node may not know this one. This node takes no requests from
// such a node. A node asks only the nodes that it knows what became of a request, and sends the
// request again if none of them has it. It remembers a node for an hour, so what it has said to this
// node alone counts for half an hour. The time is that of the message, which may arrive much later:
// this process may have been stopped.
func (n *bus) strangerLocked(node string) bool {
	m := n.members[node]
	return node != n.id && (m == nil || n.clock.at(time.Now()) > m.knows+halfHour)
}

// others returns the other nodes that are alive.
func (n *bus) others() (nodes []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for node, m := range n.members {
		if !m.gone {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// nameOf returns what Where calls a node.
func (n *bus) nameOf(node, name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	shared := node != n.id && n.name == name
	for other, m := range n.members {
		shared = shared || other != node && m.name == name && !m.gone
	}
	if shared {
		return name + "/" + node
	}
	return name
}

// reject counts and reports a message that makes no sense.
func (n *bus) reject(m *nats.Msg) {
	n.malformed.Add(1)
	n.note(fmt.Errorf("gcpool/cluster: malformed message of %d bytes on %q", len(m.Data), m.Subject))
}
