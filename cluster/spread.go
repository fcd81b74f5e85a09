package cluster

import (
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// broadcastCost is how many bytes a waiting Broadcast takes in addition to its data.
const broadcastCost = 256

// A broadcast holds the Broadcasts from other nodes that wait for slow readers of a pool.
// It exists while its goroutine runs.
type broadcast struct {
	waiting [][]byte
	bytes   int
}

// receiveBroadcast handles a Broadcast from another node. It does not wait for readers, because
// slow readers of one pool would then hold up the Broadcasts to the other pools.
func (n *incoming) receiveBroadcast(m *nats.Msg) {
	d := decoder{left: m.Data}
	node, pool := d.string(), d.string()
	stream := n.pool.GetStream(pool)
	switch {
	case d.bad || !plain(node):
		n.reject(m)
		return
	case node == n.id || stream == nil || n.withdrawn.Load():
		return
	}
	n.mu.Lock()
	c := n.broadcasts[pool]
	full := c != nil && c.bytes+len(d.left) > broadcastBytes
	if !full && !n.ended.Load() {
		if c == nil {
			c = new(broadcast)
			n.broadcasts[pool] = c
			n.running.Go(func() { n.drain(stream, c) })
		}
		c.waiting = append(c.waiting, d.left)
		c.bytes += len(d.left) + broadcastCost
	}
	n.mu.Unlock()
	if full {
		n.note(fmt.Errorf("%w: in pool %q readers do not keep up with Broadcast", gcpool.ErrSlow, pool))
	}
}

// drain is the goroutine of a broadcast.
func (n *incoming) drain(stream *gcpool.StreamPool, c *broadcast) {
	for {
		n.mu.Lock()
		if len(c.waiting) == 0 || n.ended.Load() {
			delete(n.broadcasts, stream.Name())
			n.mu.Unlock()
			return
		}
		data := c.waiting[0]
		c.waiting[0] = nil
		c.waiting = c.waiting[1:]
		c.bytes -= len(data) + broadcastCost
		n.mu.Unlock()
		if _, err := n.local.Receive(stream.Name(), "", [][]byte{data}, nil); err != nil && err != gcpool.ErrClosed {
			n.note(err)
		}
	}
}
