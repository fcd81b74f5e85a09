package cluster

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool"
)

// patience is how long a push may wait for an answer while another node has its id.
const patience = time.Second

// inquireLocked asks what became of requests without an answer. Otherwise a lost request would hold
// up the next requests for its id for WithTimeout. It asks the nodes that may have received the
// request. After a second it asks all nodes, because another of them may have the id by then. After
// two ticks without an answer a request no longer counts as in flight, so that a node that hangs
// does not block requests to other nodes.
func (n *incoming) inquireLocked(now time.Time) {
	probes := map[string][]byte{}
	for number, r := range n.out {
		if now.Sub(r.heard) <= 2*tick {
			continue
		}
		n.uncountLocked(r)
		if now.Sub(r.asked) < min(3*tick+r.asked.Sub(r.heard), patience) {
			continue
		}
		nodes := n.mayHaveLocked(r)
		if now.Sub(r.heard) > patience {
			nodes = n.everybodyLocked()
		}
		for _, node := range nodes {
			b := probes[node]
			if b == nil {
				b = append(appendString(nil, n.id), probe)
			}
			more := appendString(appendString(binary.AppendUvarint(b, number), r.pool), r.id)
			if len(b) < piece && len(more) <= n.limit { // otherwise ask about r the next time
				b = more
				r.asked = now
			}
			probes[node] = b
		}
	}
	for node, b := range probes {
		n.pending = append(n.pending, message{n.subject("d", node), b})
	}
}

// mayHaveLocked returns the nodes that may have received a request.
func (n *incoming) mayHaveLocked(r *request) []string {
	if r.node != "" {
		return []string{r.node}
	}
	return n.everybodyLocked()
}

// absentLocked notes that a node never received r, and returns the outcome of r, or errOpen. The
// outcome is ErrMoved if no node can have received r. It is ErrUncertain if a node that hangs may
// have received r, and the node that answered has the id. In that case a question is asked again,
// because asking twice does no harm.
func (n *incoming) absentLocked(r *request, node string, here bool) error {
	r.absent = append(r.absent, node)
	switch {
	case !slices.ContainsFunc(n.mayHaveLocked(r), func(node string) bool { return !slices.Contains(r.absent, node) }):
		return gcpool.ErrMoved
	case !here:
		return errOpen
	case r.kind == where:
		return gcpool.ErrMoved // ask again
	case n.now().Sub(r.heard) > patience:
		n.hints[0][r.key] = node
		return ErrUncertain
	}
	return errOpen
}

// sweep gives up overdue requests, and asks about requests without an answer. Once the node has
// ended, it gives up all requests. enqueue looks at ended under mu, so no request is queued after
// that.
func (n *incoming) sweep() {
	ended := map[*request]error{}
	n.mu.Lock()
	end, now := n.ended.Load(), n.now()
	n.ticks(now)
	for number, r := range n.out {
		if end || now.Sub(r.heard) > n.timeout {
			ended[n.claimLocked(number)] = ErrUncertain
		}
	}
	n.inquireLocked(now)
	if now.Sub(n.rotated) > hintTTL {
		n.hints = [2]map[key]string{{}, n.hints[0]}
		n.rotated = now
	}
	for len(n.queue) > 0 && (end || now.Sub(n.queue[0].heard) > n.timeout) {
		ended[n.queue[0]] = errAway
		n.queue = n.queue[1:]
	}
	n.mu.Unlock()
	for r, err := range ended {
		n.finish(r, err)
	}
	wake(n.sending) // send checks whether NATS is connected
}
