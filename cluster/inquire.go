package cluster

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool"
)

// patience is how long nothing may be heard of a push while another node has its id.
const patience = time.Second

// inquire asks what became of requests of which nothing has been heard, so that a lost
// one does not keep those behind it waiting for WithTimeout. It asks the nodes that may
// have got one; after a second all, for one of them may have the id.
func (n *replies) inquire(silent map[uint64]*request, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	probes := map[string][]byte{}
	for number, r := range silent {
		if n.out[number] != r || now.Sub(r.asked) < min(3*tick+r.asked.Sub(r.heard), patience) {
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
			if len(b) < piece { // else the next time
				b = appendString(appendString(binary.AppendUvarint(b, number), r.pool), r.id)
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
func (n *replies) mayHaveLocked(r *request) []string {
	if r.node != "" {
		return []string{r.node}
	}
	return n.everybodyLocked()
}

// absentLocked notes that a node never received r, and returns the outcome if that
// decides: ErrMoved if no node has r, and ErrUncertain if one that hangs may have it
// while this one has its id. A node whose heartbeat is still in control may have r too.
func (n *replies) absentLocked(r *request, node string, here bool) error {
	r.absent = append(r.absent, node)
	if len(n.control) == 0 && !slices.ContainsFunc(n.mayHaveLocked(r), func(node string) bool {
		return !slices.Contains(r.absent, node)
	}) {
		return gcpool.ErrMoved
	}
	switch {
	case !here:
		return nil
	case r.kind == where:
		return gcpool.ErrMoved // ask again
	case n.now().Sub(r.heard) > patience:
		n.hints[0][r.key] = hint{node: node}
		return ErrUncertain
	}
	return nil
}

// sweep gives up requests that are overdue, at the end all. Those of which nothing has
// been heard for two ticks no longer count as in flight, so that a node that hangs
// does not block the way to others; and inquire asks about them.
func (n *replies) sweep(end bool) {
	ended, silent := map[*request]error{}, map[uint64]*request{}
	n.mu.Lock()
	now := n.now()
	n.ticks(now)
	for number, r := range n.out {
		switch {
		case end || now.Sub(r.heard) > n.timeout:
			ended[n.claimLocked(number)] = ErrUncertain
		case now.Sub(r.heard) > 2*tick:
			n.uncountLocked(r)
			silent[number] = r
		}
	}
	if now.Sub(n.rotated) > hintTTL {
		n.hints = [2]map[key]hint{{}, n.hints[0]}
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
	n.inquire(silent, now)
	wake(n.sending) // to look whether NATS is connected
}
