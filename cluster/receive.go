package cluster

import (
	"strings"
	"time"
)

// receive is the goroutine that handles requests and answers. It also watches deadlines, because it
// is the one goroutine that never waits for NATS.
func (n *Node) receive() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	answers := n.subject("r", "")
	for {
		select {
		case m := <-n.in:
			if strings.HasPrefix(m.Subject, answers) {
				n.answered(m)
			} else {
				n.received(m)
			}
		case <-ticker.C:
			n.sweep()
		case <-n.stop:
			return
		}
	}
}
