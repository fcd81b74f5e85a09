package cluster

import (
	"errors"
	"time"

	"github.com/nulijiabei/gcpool"
)

// A retry is when an id is looked for again whose messages wait in the mailbox here. NATS said
// that nobody has it, which is also what it says while a route is down, and nothing tells when
// that ends. Each pause is twice the one before, so that an id costs a question for each
// doubling of the ttl.
type retry struct {
	due   time.Time
	pause time.Duration
}

// keep has an id looked for again in a second, if what nobody took is in the mailbox.
func (n *outgoing) keep(k key, err error) {
	nobody := errors.Is(err, gcpool.ErrNotConnected) && !errors.Is(err, gcpool.ErrMoved)
	if nobody && n.hasMail(k) {
		n.mu.Lock()
		n.retries[k] = retry{time.Now().Add(heartbeat), heartbeat}
		n.mu.Unlock()
	}
}

func (n *outgoing) hasMail(k key) bool { return n.pool.GetConn(k.pool).Info(k.id).Mailbox > 0 }

// lookAgain asks where the ids of retries are. What waits for those that are found goes there.
func (n *outgoing) lookAgain(now time.Time) {
	var due []key
	n.mu.Lock()
	for k, r := range n.retries {
		switch {
		case now.Before(r.due):
		case n.hasMail(k):
			due = append(due, k)
			n.retries[k] = retry{now.Add(2 * r.pause), 2 * r.pause}
		default:
			delete(n.retries, k)
		}
	}
	n.mu.Unlock()
	for _, k := range due {
		n.enqueue(&request{key: k, kind: where, batch: [][]byte{nil}, done: func(errs []error) {
			if errs[0] == nil {
				n.local.Appeared(k.pool, k.id)
			}
		}})
	}
}
