package cluster

import (
	"cmp"
	"time"
)

// The kinds of request.
const (
	push  byte = 'm' // messages for an id
	where byte = 'w' // the question which node has it
	probe byte = 'q' // the question which requests a node has in hand
)

// A request is a batch of messages on its way to the node that has their id, or
// the question where it is.
type request struct {
	key
	kind  byte
	node  string   // that has the id, as another said; "" looks for it
	batch [][]byte // without an outcome
	errs  []error  // the outcomes of those before
	done  func(errs []error)
	name  string // the answer to a question

	sent   int       // how much of batch is out
	counts bool      // in the window
	since  time.Time // when its node was last heard of, or the search began
	due    time.Time
	heard  time.Time // when it left, or its node last said that it had it
	asked  time.Time // when it was asked for last
	absent []string  // nodes that do not have it
}

// A home is the node that answered for an id, or since when that is looked for.
type hint struct {
	node  string
	since time.Time
}

// A post is a message to NATS that nobody waits for.
type message struct {
	subject string
	data    []byte
}

// A remote is a Node as its pool sees it.
type remote struct{ *Node }

// Forward implements [gcpool.Cluster]. It may block while NATS does not read.
func (n remote) Forward(pool, id string, batch [][]byte, done func(errs []error)) {
	n.enqueue(&request{key: key{pool, id}, kind: push, batch: batch, done: done})
	n.sendNow()
}

// Broadcast implements [gcpool.Cluster]. It does not block.
func (n remote) Broadcast(pool string, data []byte) error {
	b := appendString(make([]byte, 0, len(n.id)+len(pool)+len(data)+4), n.id)
	b = append(appendString(b, pool), data...)
	defer wake(n.sending) // once mu is unlocked
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.away || n.ended:
		return errAway
	case len(b) > n.limit:
		return errTooLarge
	case n.broadcasting+len(b) > broadcastBytes:
		return errOverflow
	}
	n.pending = append(n.pending, message{n.subject("b"), b})
	n.broadcasting += len(b)
	return nil
}

// enqueue has a new request sent soon.
func (n *Node) enqueue(r *request) {
	n.mu.Lock()
	n.open++
	h := cmp.Or(n.hints[0][r.key], n.hints[1][r.key])
	r.node = cmp.Or(n.redirects[r.key].node, h.node)
	r.since = cmp.Or(r.since, h.since, time.Now())
	n.mu.Unlock()
	n.again(r)
}

// again has what is left of a request sent, once send is awake.
func (n *Node) again(r *request) {
	n.mu.Lock()
	ended := n.ended
	if !ended {
		r.due = time.Now().Add(n.timeout)
		n.queue = append(n.queue, r)
	}
	n.mu.Unlock()
	if ended {
		n.finish(r, errAway)
	}
}
