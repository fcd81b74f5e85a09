package cluster

import (
	"time"
)

// receive is the goroutine that handles requests and answers. It also watches deadlines and NATS,
// because it is the one goroutine that never waits for NATS.
func (n *Node) receive() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case m := <-n.in:
			if m.Sub == n.ours {
				n.answered(m)
			} else {
				n.received(m)
			}
		case <-ticker.C:
			n.sweep(false)
			n.listen()
		case <-n.stop:
			return
		}
	}
}

// listen connects to NATS again if this node's own ping has not come back for
// natsTimeout. nats.go may take minutes to notice that the machine of a server has vanished. It
// may hold its lock in a write meanwhile, so listen reconnects on a goroutine.
func (n *Node) listen() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.in) > 0 || n.now().Sub(n.lastEcho) < natsTimeout {
		return
	}
	n.lastEcho = n.now() // the next try is natsTimeout later
	resumes := n.resumes
	n.running.Go(func() {
		if n.nc.IsConnected() && n.nc.Stats().Reconnects == resumes {
			n.note(errDeaf)
			_ = n.nc.ForceReconnect()
		}
	})
}
