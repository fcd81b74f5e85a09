package cluster

import (
	"cmp"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// receive is the goroutine that handles requests and answers. It also watches deadlines
// and NATS itself, for unlike the others it never waits for NATS.
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
		case <-n.idle:
		case <-n.stop:
			return
		}
	}
}

// resume extends all deadlines by the time for which this process was stopped or had no
// processor, for answers may wait to be read. It runs each tick and counts one of
// them, so that no deadline is extended for ever.
func (n *Node) resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	gap := now.Sub(cmp.Or(n.looked, now)) - tick
	n.looked = now
	if gap < 2*tick {
		return
	}
	later := func(t time.Time) time.Time {
		if t = t.Add(gap); t.After(now) { // it is from after the stop
			return now
		}
		return t
	}
	putOff := func(r *request) {
		r.due, r.since, r.heard = later(r.due.Add(-n.timeout)).Add(n.timeout), later(r.since), later(r.heard)
	}
	for _, r := range n.out {
		putOff(r)
	}
	for _, r := range n.queue {
		putOff(r)
	}
	for _, m := range n.members {
		m.heard = later(m.heard)
	}
	n.lastEcho = later(n.lastEcho)
}

// listen connects to NATS again if this node's own ping has not come back for
// natsTimeout. nats.go takes minutes to miss a server whose machine has vanished. It
// may hold its lock in a write meanwhile, hence the goroutine.
func (n *Node) listen() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.in) > 0 || time.Since(n.lastEcho) < natsTimeout {
		return
	}
	n.lastEcho = time.Now() // the next try is natsTimeout later
	resumes := n.resumes
	n.running.Go(func() {
		if n.nc.IsConnected() && n.nc.Stats().Reconnects == resumes {
			n.note(errDeaf)
			_ = n.nc.ForceReconnect()
		}
	})
}

// reject counts and reports a message that makes no sense.
func (n *Node) reject(m *nats.Msg) {
	n.malformed.Add(1)
	n.note(fmt.Errorf("gcpool/cluster: malformed message of %d bytes on %q", len(m.Data), m.Subject))
}
