package cluster

import (
	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// broadcastCost is how many bytes a Broadcast that waits takes besides its data.
const broadcastCost = 256

// hearBroadcasts subscribes to the Broadcasts to a pool. Each pool has its own subscription, and so
// a queue and a goroutine of nats.go, because one pool must not wait for slow readers of another.
// nats.go drops what the queue cannot hold, and reports it.
func (n *Node) hearBroadcasts(pool string) {
	if n.broadcasts[pool] != nil {
		return
	}
	sub, err := n.nc.Subscribe(n.subject("b", token(pool)), func(m *nats.Msg) { n.receiveBroadcast(pool, m) })
	if err != nil {
		n.note(err)
		return
	}
	_ = sub.SetPendingLimits(broadcastBytes/broadcastCost, broadcastBytes) // fails if it has ended
	n.subs, n.broadcasts[pool] = append(n.subs, sub), sub
}

// receiveBroadcast handles a Broadcast of another node. It waits for readers.
func (n *incoming) receiveBroadcast(pool string, m *nats.Msg) {
	d := decoder{left: m.Data}
	node := d.string()
	switch {
	case d.string() != pool || d.bad || !plain(node):
		n.reject(m)
	case node != n.id:
		if _, err := n.local.Receive(pool, "", [][]byte{d.left}, nil); err != nil && err != gcpool.ErrClosed {
			n.note(err)
		}
	}
}
