package cluster

import (
	"time"

	"github.com/nulijiabei/gcpool"
)

// claim removes a request from out, and the caller settles it. It returns nil if another caller
// has claimed the request.
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

// fail settles a request that did not leave. If one message was too large, those
// behind it are sent.
func (n *outgoing) fail(r *request, err error) {
	if err == errTooLarge && len(r.batch) > 1 {
		r.errs, r.batch = append(r.errs, err), r.batch[1:]
		n.enqueue(r)
		return
	}
	n.finish(r, err)
}

// finish settles a request. err is the outcome of all messages that have none.
// ErrMoved is delayed, so that the next try finds the id at its new node; see retryDelay.
func (n *outgoing) finish(r *request, err error) {
	if err == gcpool.ErrMoved {
		err = n.moved(r)
	}
	for range r.batch {
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
	if err == gcpool.ErrMoved {
		searched := n.now().Sub(r.since)
		time.AfterFunc(min(max(retryDelay, searched/8), maxRetryDelay), settle)
	} else {
		settle()
	}
}

// moved forgets the node that did not take a request. It returns ErrMoved, and the pool forwards
// the messages again. After WithTimeout the search ends with errNowhere. A question has a search of
// its own. The one for messages goes on, and is forgotten as soon as without the question.
func (n *outgoing) moved(r *request) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	over := n.now().Sub(r.since) > n.timeout
	switch h, _ := n.hintLocked(r.key); {
	case r.kind == where && h.node != "":
		n.hints[0][r.key] = hint{since: h.since}
	case r.kind == where: // nothing to forget
	case over:
		n.hints[0][r.key] = hint{}
	default:
		n.hints[0][r.key] = hint{since: r.since}
	}
	if over {
		return errNowhere
	}
	return gcpool.ErrMoved
}
