package cluster

import (
	"cmp"
	"sync/atomic"
	"time"
)

// The kinds of request.
const (
	push  = 'm' // messages for an id
	where = 'w' // which node has the id? It has one empty message
	probe = 'q' // what became of these requests?
)

// A request is a push or a question that waits for its answer.
type request struct {
	key
	kind  byte
	node  string   // the node to which it goes; "" means any node that has the id
	batch [][]byte // messages without an outcome
	errs  []error  // outcomes of the messages before them
	done  func(errs []error)
	name  string // the name of node, once node has answered a question

	sent   int       // how many of batch have left
	counts bool      // it counts in inFlight
	since  time.Time // when the search for its id began
	heard  time.Time // when it was queued, sent, or last reported in progress
	asked  time.Time // when it was last probed
	absent []string  // nodes that have answered absent
}

// An outgoing is the part of a node that sends answers, and requests until they have their
// outcomes.
type outgoing struct {
	*bus
	sending  chan struct{} // wakes send
	requests atomic.Uint64

	// Guarded by mu.
	queue        []*request // to be sent
	out          map[uint64]*request
	number       uint64
	inFlight     int               // how many requests in out count; see maxInFlight
	open         int               // requests without an outcome
	buf          []byte            // the request that take has encoded; owned by send
	pending      []message         // to be sent, ahead of the queue
	slots        map[string]int    // index in pending, of the answers to a node
	broadcasting int               // bytes of Broadcast in pending
	limit        int               // max_payload of NATS
	away         bool              // no connection to NATS
	retries      map[key]retry     // ids with mail here that no node had
	hints        [2]map[key]string // the node where an id was last; see hintLocked
	rotated      time.Time         // when the newer of the hints was begun
}

// A message is anything else that send publishes. Unlike a request, it has no outcome to wait for.
type message struct {
	subject string
	data    []byte
}

// A remote is the [gcpool.Cluster] of a pool. It is a type of its own to keep these methods out of
// Node's API.
type remote struct{ *Node }

// Forward implements [gcpool.Cluster]. It does not block.
func (n remote) Forward(pool, id string, batch [][]byte, done func(errs []error)) {
	n.enqueue(&request{key: key{pool, id}, kind: push, batch: batch, done: done})
}

// Broadcast implements [gcpool.Cluster]. It does not block.
func (n remote) Broadcast(pool string, data []byte) error {
	b := appendString(make([]byte, 0, len(n.id)+len(pool)+len(data)+4), n.id)
	b = append(appendString(b, pool), data...)
	defer wake(n.sending) // once mu is unlocked
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.away || n.ended.Load():
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

// enqueue adds a request, or the rest of one, to the queue.
func (n *outgoing) enqueue(r *request) {
	n.mu.Lock()
	if r.heard.IsZero() { // it is new
		n.open++
	}
	hint, _ := n.hintLocked(r.key)
	r.node, r.since, r.heard = cmp.Or(r.node, hint), cmp.Or(r.since, n.now()), n.now()
	if n.ended.Load() {
		n.mu.Unlock()
		n.finish(r, errAway)
		return
	}
	n.queue = append(n.queue, r)
	wake(n.sending)
	n.mu.Unlock()
}

// hintLocked returns the node where an id was last, according to an answer or an announcement from
// the current period of hintTTL or the period before. The node is "" if the id was not where this
// node expected it, or has left this node for an unknown one.
func (n *outgoing) hintLocked(k key) (node string, ok bool) {
	if node, ok := n.hints[0][k]; ok {
		return node, true
	}
	node, ok = n.hints[1][k]
	return node, ok
}
