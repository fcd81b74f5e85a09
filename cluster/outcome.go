package cluster

import (
	"time"

	"github.com/nulijiabei/gcpool"
)

// claim removes a request from out for the caller to settle. It returns nil if another caller has
// claimed the request.
func (n *outgoing) claim(number uint64) *request {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.claimLocked(number)
}

func (n *outgoing) claimLocked(number uint64) *request {
	r := n.out[number]
	if r != nil {
		n.uncountLocked(r)
		delete(n.out, number)
	}
	return r
}

// uncountLocked makes room in inFlight, and wakes send if a request waits.
func (n *outgoing) uncountLocked(r *request) {
	if r.counts {
		r.counts = false
		n.inFlight--
		if len(n.queue) > 0 {
			wake(n.sending)
		}
	}
}

// finish settles a request, or sends it again. err is the outcome of all messages that have none
// yet; if err is nil, these messages go to r.node. A request that ends with ErrMoved is sent again,
// for up to WithTimeout. The pauses are short at first, so that a request soon finds an id that has
// just moved, and grow as the search goes on. finish returns the request to the pool instead, with
// ErrMoved, if the id is connected here by now, if some of its messages have outcomes, or if this
// node leaves.
func (n *outgoing) finish(r *request, err error) {
	searched := n.now().Sub(r.since)
	switch {
	case err == nil && len(r.batch) > 0:
		n.enqueue(r)
		return
	case err != gcpool.ErrMoved:
		n.settle(r, err)
		return
	case searched > n.timeout:
		n.settle(r, errNowhere)
		return
	}
	r.node = ""
	n.mu.Lock()
	n.hints[0][r.key] = ""
	n.mu.Unlock()
	time.AfterFunc(min(max(retryDelay, searched/8), maxRetryDelay), func() {
		if len(r.errs) > 0 || n.gone.Load() || !n.added(r.key).IsZero() {
			n.settle(r, err)
		} else {
			n.enqueue(r)
		}
	})
}

func (n *outgoing) settle(r *request, err error) {
	for range r.batch {
		r.errs = append(r.errs, err)
	}
	r.done(r.errs)
	if r.kind == push {
		n.keep(r.key, err)
	}
	n.mu.Lock()
	n.open--
	n.mu.Unlock()
}
