package cluster

import "time"

// receive is the goroutine that handles requests and answers. It also watches deadlines, because it
// is the one goroutine that never waits for NATS.
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
		case <-n.stop:
			return
		}
	}
}
