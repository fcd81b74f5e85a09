package promises

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// A bus joins pools of this process, the way a cluster joins pools over a network.
type bus struct {
	mu     sync.Mutex
	nodes  []*node
	owners map[string]owner
	delay  time.Duration // of each message, and again of its outcome
	refuse error         // the outcome of every message, if not nil
	silent atomic.Bool   // Forward never answers
}

// join adds a node with a started pool.
func (b *bus) join(t *testing.T, opts ...gcpool.Option) *node {
	t.Helper()
	n := &node{bus: b}
	n.pool, n.conns, n.stream = started(t, opts...)
	b.mu.Lock()
	b.owners = map[string]owner{}
	b.nodes = append(b.nodes, n)
	b.mu.Unlock()
	if err := n.pool.SetCluster(n); err != nil {
		t.Fatal(err)
	}
	return n
}

// An owner is the place where an id is connected: a node and a connection.
type owner struct {
	node *node
	conn net.Conn
}

// A node is one pool and its access to the other pools.
type node struct {
	*bus
	pool   *gcpool.Pool
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
}

// Changed lets the newest connection win: it evicts the previous one,
// and from then on messages go to the new one.
func (n *node) Changed(_, id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.owners[id]
	now := owner{node: n}
	n.conns.Get(id, func(conn net.Conn) error {
		now.conn = conn
		return nil
	})
	switch {
	case now.conn != nil && now != old:
		if old.node != nil && old.node != n {
			local(old.node.conns).Evict(name, id, old.conn)
		}
		n.owners[id] = now
		for _, o := range n.nodes {
			local(o.conns).Appeared(name, id)
		}
	case now.conn == nil && old.node == n:
		delete(n.owners, id)
	}
}

func (n *node) owner(id string) *node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.owners[id].node
}

// Forward passes the batch on to the owner of the id.
func (n *node) Forward(_, id string, batch [][]byte, done func([]error)) {
	go func() {
		time.Sleep(n.delay)
		errs := make([]error, 0, len(batch))
		for len(errs) < len(batch) && !n.silent.Load() {
			if n.refuse != nil {
				errs = append(errs, n.refuse)
				continue
			}
			o := n.owner(id)
			if o == nil {
				errs = append(errs, gcpool.ErrNotConnected)
				continue
			}
			outcomes := make(chan []error, 1)
			taken, err := local(o.stream).Receive(name, id, batch[len(errs):], func(errs []error) { outcomes <- errs })
			switch {
			case taken > 0:
				errs = append(errs, <-outcomes...)
			case errors.Is(err, context.Canceled): // the outbox is full
				time.Sleep(time.Millisecond)
			default: // the id has left in the meantime
				errs = append(errs, gcpool.ErrMoved)
			}
			for len(errs) > 0 && errs[len(errs)-1] != nil && len(errs) < len(batch) { // or later messages would overtake
				errs = append(errs, gcpool.ErrMoved)
			}
		}
		if len(errs) < len(batch) {
			return
		}
		time.Sleep(n.delay)
		done(errs)
		done(errs) // the second call does nothing
	}()
}

func (n *node) Broadcast(_ string, data []byte) error {
	for _, o := range n.nodes {
		if o == n {
			continue
		}
		if _, err := local(o.stream).Receive(name, "", [][]byte{data}, nil); err != nil {
			return err
		}
	}
	return nil
}
