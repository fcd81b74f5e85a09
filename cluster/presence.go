package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"github.com/nulijiabei/gcpool"
)

// Stats is a snapshot of a Node. For the outcomes of messages see [gcpool.Pool.Stats], where
// Forwarded counts the messages that another node has written.
type Stats struct {
	Nodes     int    // other nodes that were heard within 3.5 s
	IDs       int    // ids that are connected here and announced
	Waiting   int    // requests without an answer; a request is a batch for an id, or a question
	Requests  uint64 // requests sent
	Received  uint64 // requests from other nodes
	Malformed uint64 // malformed messages, which were dropped
}

// Stats returns a snapshot. It does not block.
func (n *Node) Stats() Stats {
	if !n.joined() {
		return Stats{}
	}
	nodes := len(n.others())
	n.mu.Lock()
	defer n.mu.Unlock()
	return Stats{
		Nodes: nodes, IDs: int(n.ids.Load()), Waiting: n.open,
		Requests: n.requests.Load(), Received: n.taken.Load(), Malformed: n.malformed.Load(),
	}
}

// Where returns the name of the node to which id is connected in a pool. If two nodes have that
// name, it returns the name, "/" and the unique id of the node. Where returns
// gcpool.ErrNotConnected if no node has the id, or if there is no connection to NATS; ErrUncertain
// if no answer comes within WithTimeout; and ctx's error if ctx ends first. It does not ask NATS if
// id is connected here. For up to 2 s after the Shutdown of a node, Where waits for the users of
// that node to connect elsewhere.
func (n *Node) Where(ctx context.Context, pool, id string) (string, error) {
	if !n.joined() || ctx == nil || id == "" {
		return "", fmt.Errorf("%w: no node, nil context or empty id", gcpool.ErrInvalid)
	}
	for since := n.now(); ; { // while this node leaves, a question soon ends with ErrMoved: ask again
		if !n.added(key{pool, id}).IsZero() {
			return n.nameOf(n.id, n.name), nil
		}
		answer := make(chan error, 1)
		r := &request{key: key{pool, id}, kind: where, batch: [][]byte{nil}, since: since}
		r.done = func(errs []error) { answer <- errs[0] }
		n.enqueue(r)
		select {
		case err := <-answer:
			if err == nil {
				return n.nameOf(r.node, r.name), nil
			} else if !errors.Is(err, gcpool.ErrMoved) {
				return "", err
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// Online iterates over the ids that are connected in a pool: first the ids on this node, then the
// ids on the other nodes. It asks each node when its turn comes, gathers that node's ids in memory,
// and skips a node that has gone by then. An id that moves meanwhile may appear twice, or not at
// all. If a node does not answer completely within WithTimeout, an error takes the place of its
// ids, and the iteration goes on. If ctx ends, the iteration ends with ctx's error. Ids of other
// nodes that do not fit into NATS's max_payload are left out.
func (n *Node) Online(ctx context.Context, pool string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if !n.joined() || ctx == nil {
			yield("", fmt.Errorf("%w: no node or nil context", gcpool.ErrInvalid))
			return
		}
		for id := range n.pool.GetConn(pool).All() {
			if !yield(id, nil) {
				return
			}
		}
		for _, node := range n.others() {
			var ids []string
			var err error
			if late := await(ctx, func() { ids, err = n.ask(ctx, node, pool) }); late != nil {
				yield("", late)
				return
			}
			for _, id := range ids {
				if !yield(id, nil) {
					return
				}
			}
			if err != nil && !yield("", err) || ctx.Err() != nil {
				return
			}
		}
	}
}

// ask returns the ids of another node, or none if the node has gone.
func (n *Node) ask(ctx context.Context, node, pool string) (ids []string, err error) {
	inbox := n.subject("p", n.id, nuid.Next())
	sub, err := n.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("gcpool/cluster: %w", err)
	}
	defer sub.Unsubscribe()
	b := appendString(append(appendString(nil, n.id), listing), pool)
	if err := n.nc.PublishRequest(n.subject("s", node), inbox, b); err != nil {
		return nil, fmt.Errorf("gcpool/cluster: %w", err)
	}
	wait, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	for whole := uint64(0); ; {
		m, err := sub.NextMsgWithContext(wait)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, nats.ErrNoResponders):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("gcpool/cluster: ids of node %q: %w", node, err)
		}
		d := decoder{left: m.Data}
		from, kind, after, upTo := d.string(), d.number(), d.number(), d.number()
		before := len(ids)
		for d.more() {
			d.string() // its pool
			ids = append(ids, d.string())
			d.number()
		}
		if d.bad || from != node || kind != joined || after != whole {
			n.reject(m)
			return nil, fmt.Errorf("gcpool/cluster: ids of node %q: %w", node, errPages)
		} else if len(ids) == before {
			return ids, nil
		}
		whole = upTo
	}
}
