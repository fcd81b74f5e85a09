package cluster

import (
	"errors"
	"time"

	"github.com/nulijiabei/gcpool"
)

// claim removes a request from out, for the caller to settle. It returns nil if that
// has been done.
func (n *Node) claim(number uint64) *request {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.out[number]
	if r != nil {
		n.uncountLocked(r)
		delete(n.out, number)
	}
	return r
}

// uncountLocked makes room in inFlight, and wakes send if a request waits.
func (n *Node) uncountLocked(r *request) {
	if r.counts {
		r.counts = false
		n.inFlight--
		if len(n.queue) > 0 {
			wake(n.sending)
		}
	}
}

// fail settles a request that did not leave. If one message was too large, those
// behind it are sent.
func (n *Node) fail(r *request, err error) {
	if err == errTooLarge && len(r.batch) > 1 {
		r.errs, r.batch = append(r.errs, err), r.batch[1:]
		n.again(r)
		return
	}
	n.finish(r, err)
}

// finish settles a request with err as the outcome of all messages that have none.
// ErrMoved is delayed, so that the next try finds the id at its new node.
func (n *Node) finish(r *request, err error) {
	left := len(r.batch)
	if r.kind == where {
		left = 1
	}
	for range left {
		r.errs = append(r.errs, err)
	}
	settle := func() {
		r.done(r.errs)
		if r.kind == push {
			n.keep(r.key, err)
		}
		n.mu.Lock()
		n.open--
		n.mu.Unlock()
	}
	if errors.Is(err, gcpool.ErrMoved) {
		time.AfterFunc(retryDelay, settle)
	} else {
		settle()
	}
}

// sweep gives up requests that are overdue, at the end all. Those of which nothing has
// been heard for two ticks no longer count as in flight, so that a node that hangs
// does not block the way to others; and inquire asks about them.
func (n *Node) sweep(end bool) {
	n.resume()
	now := time.Now()
	var lost, unsent []*request
	silent := map[uint64]*request{}
	n.mu.Lock()
	for number, r := range n.out {
		switch {
		case end || now.After(r.due):
			n.uncountLocked(r)
			delete(n.out, number)
			lost = append(lost, r)
		case now.Sub(r.heard) > 2*tick:
			n.uncountLocked(r)
			silent[number] = r
		}
	}
	if now.Sub(n.rotated) > redirectTTL {
		n.hints = [2]map[key]hint{{}, n.hints[0]}
		n.rotated = now
	}
	late := 0
	for late < len(n.queue) && (end || now.After(n.queue[late].due)) {
		late++
	}
	unsent, n.queue = n.queue[:late:late], n.queue[late:]
	n.mu.Unlock()
	for _, r := range lost {
		n.finish(r, ErrUncertain)
	}
	for _, r := range unsent {
		n.finish(r, errAway)
		n.unsent.Store(true)
	}
	n.inquire(silent, now)
	wake(n.sending) // to look whether NATS is connected
}
