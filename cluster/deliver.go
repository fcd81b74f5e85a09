package cluster

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// A delivery is a request from another node that this node has taken and not yet answered.
type delivery struct {
	key
	origin
	batch [][]byte // messages without an outcome
	codes []byte   // outcomes of the messages before them
}

// An origin identifies a request: its node and number.
type origin struct {
	node   string
	number uint64
}

// An incoming is the part of a node that handles what other nodes send to the ids here. It also
// decides, by their answers or their silence, what becomes of the requests of this node.
type incoming struct {
	*outgoing
	in         chan *nats.Msg // requests and answers
	taken      atomic.Uint64
	deliveries map[origin]*delivery
	broadcasts map[string]*broadcast // by pool
}

// receive is the goroutine that handles requests and answers. It also watches deadlines, because it
// is the only goroutine that never waits for NATS.
func (n *incoming) receive() {
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

// received handles one request.
func (n *incoming) received(m *nats.Msg) {
	d := decoder{left: m.Data}
	r := &delivery{origin: origin{node: d.string()}}
	kind := d.number()
	if kind == probe && plain(r.node) {
		n.probed(r.node, &d, m)
		return
	}
	expires := d.number()
	r.key = key{d.string(), d.string()}
	for d.more() {
		r.batch = append(r.batch, d.bytes())
	}
	number, ok := n.numbered(m.Reply, r.node)
	if d.bad || !ok || r.id == "" || !plain(r.node) || kind != push && kind != where || len(r.batch) == 0 {
		n.reject(m)
		return
	}
	n.taken.Add(1)
	r.number = number
	switch {
	case !n.accept(r, expires):
	case kind == push:
		n.proceed(r, nil)
	case n.added(r.key).IsZero():
		n.end(r, "")
	default:
		r.codes = []byte{0}
		n.end(r, n.name)
	}
}

// accept takes a request, and reports whether it did. It refuses a request that is out of order,
// has expired, comes while this node leaves, or comes from a stranger. The sender then sends the
// request again, if it still waits for the outcome. accept ignores a request that it has already
// taken: that request has its own answer.
func (n *incoming) accept(r *delivery, expires uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, stranger := n.memberLocked(r.node), n.strangerLocked(r.node)
	if stranger && !m.heard.IsZero() { // otherwise the first heartbeat will lead to a greeting
		select {
		case n.strangers <- r.node:
		default: // the next request from this stranger tries again
		}
	}
	if stranger || n.withdrawn.Load() || n.clock.at(time.Now()) > expires {
		m.refuse(r.number)
	} else if m.take(r.number) {
		n.deliveries[r.origin] = r
		return true
	}
	if m.never(r.number) {
		n.answerLocked(r.node, r.number, outcomes, nil, "")
	}
	return false
}

// probed tells a node what became of some of its requests. This node refuses from now on those that
// never came.
func (n *incoming) probed(node string, d *decoder, msg *nats.Msg) {
	for d.more() {
		number, k, here := d.number(), key{d.string(), d.string()}, ""
		if d.bad {
			n.reject(msg)
			break
		}
		if !n.added(k).IsZero() {
			here = n.id
		}
		n.mu.Lock()
		m := n.memberLocked(node)
		m.refuse(number)
		switch {
		case n.deliveries[origin{node, number}] != nil:
			n.answerLocked(node, number, inProgress, nil, "")
		case m.never(number):
			n.answerLocked(node, number, absent, nil, here)
		default: // its answer was sent before this one
			n.answerLocked(node, number, taken, nil, "")
		}
		n.mu.Unlock()
	}
}

// proceed notes the outcomes of the first messages of r, and gives the pool as many of the rest as
// it has room for. It is called again when these have their outcomes, or when there may be room. At
// the end it answers r. For messages that the pool refuses it loops instead of calling itself,
// because there may be more of them than the stack has room for calls.
func (n *incoming) proceed(r *delivery, errs []error) {
	for !r.note(errs) && len(r.batch) > 0 {
		taken, err := n.local.Receive(r.pool, r.id, r.batch, func(errs []error) { n.proceed(r, errs) })
		if taken > 0 {
			return
		}
		if n.ended.Load() {
			return // too late for an answer
		}
		if errors.Is(err, context.Canceled) {
			time.AfterFunc(retryDelay, func() { n.proceed(r, nil) })
			return
		}
		errs = []error{err}
	}
	n.end(r, "")
}

// note notes the outcomes of the first messages of r. It reports whether the id moved, or its pool
// was shut down, before one of them was written. In that case, this message and all after it go
// back to the node that sent them.
func (r *delivery) note(errs []error) (moved bool) {
	for _, err := range errs {
		if errors.Is(err, gcpool.ErrMoved) || errors.Is(err, gcpool.ErrClosed) {
			return true
		}
		r.codes = append(r.codes, reason(err))
		r.batch = r.batch[1:]
	}
	return false
}

// end answers r. Messages that are left in its batch were not taken. The argument name is this
// node's name if r was a question and this node has the id. If name is "", the answer names the
// node that has the id, if that is known.
func (n *incoming) end(r *delivery, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.deliveries, r.origin)
	elsewhere, _ := n.hintLocked(r.key)
	n.answerLocked(r.node, r.number, outcomes, r.codes, cmp.Or(name, elsewhere))
}

// farewell tells each node how many answers it should have received from this one.
func (n *incoming) farewell() {
	n.mu.Lock()
	for node, m := range n.members {
		n.answerLocked(node, m.answers, farewell, nil, "")
	}
	n.mu.Unlock()
	n.round()
}
