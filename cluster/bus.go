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
// all parts of a node, so that each decision sees one consistent state. Under mu, nothing of
// nats.go is called, and nothing of the pool that takes a lock, except GetConn and Info.
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

// A reading is the time of the node, and the time of the process at the same moment.
type reading struct{ process, node time.Time }

// now returns the time by which a node measures silence. Between two ticks it advances by at most
// 200 ms. So a process that was stopped, or got no processor time, first reads the messages that
// have come meanwhile, before it counts anything as missing.
func (n *bus) now() time.Time {
	r := n.ticked.Load()
	return r.node.Add(min(time.Since(r.process), 2*tick))
}

// ticks notes the time of the node at each tick.
func (n *bus) ticks(now time.Time) { n.ticked.Store(&reading{time.Now(), now}) }

// publish publishes one message, and records an error.
func (n *bus) publish(subject string, b []byte) {
	if err := n.nc.Publish(subject, b); err != nil && !errors.Is(err, nats.ErrConnectionClosed) { // lookAtNATS notes a closed connection
		n.note(err)
	}
}

// added returns when the connection of an id here was added, or the zero time if it has none.
func (n *bus) added(k key) time.Time { return n.local.Since(k.pool, k.id) }

// shutDown reports whether the pool of an id that is not connected here has been shut down.
func (n *bus) shutDown(k key) bool {
	return errors.Is(n.pool.GetConn(k.pool).Get(k.id, func(net.Conn) error { return nil }), gcpool.ErrClosed)
}

// timeOf decodes a time from another node, and moves the clock beyond it.
func (n *bus) timeOf(d *decoder) uint64 {
	t := d.number()
	n.mu.Lock()
	defer n.mu.Unlock()
	d.bad = d.bad || !n.clock.hear(t, time.Now())
	return t
}

// memberLocked returns the member for a node. A new member counts as gone until its first
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

// everybodyLocked returns the nodes that may have taken a request of this node, itself included.
// Other nodes take none, because this node is a stranger to them; see strangerLocked.
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
// such a stranger: the sender of a request asks only the nodes that it knows what became of the
// request, and sends it again if none of them has it. A sender remembers a node for an hour, so its
// last message to this node alone proves that it knows this node for half an hour. The half hour
// starts when that message was sent. It may have arrived much later, if this process was stopped.
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

// nameOf returns the name by which Where calls a node.
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

// reject counts and reports a malformed message.
func (n *bus) reject(m *nats.Msg) {
	n.malformed.Add(1)
	n.note(fmt.Errorf("gcpool/cluster: malformed message of %d bytes on %q", len(m.Data), m.Subject))
}
