package cluster

import (
	"errors"
	"time"

	"github.com/nulijiabei/gcpool"
)

// A retry is the next time to look for an id whose messages wait in the mailbox here. NATS said
// that no node has the id, but it also says so while a route is down, and nothing tells a node that
// the route is up again. Each pause is twice as long as the last, so an id that stays away costs
// few questions.
type retry struct {
	due   time.Time
	pause time.Duration
}

// keep adds a retry for an id if a message that no node took went into its mailbox.
func (n *outgoing) keep(k key, err error) {
	nobody := errors.Is(err, gcpool.ErrNotConnected) && !errors.Is(err, gcpool.ErrMoved)
	if nobody && n.hasMail(k) {
		n.mu.Lock()
		n.retries[k] = retry{time.Now().Add(heartbeat), heartbeat}
		n.mu.Unlock()
	}
}

func (n *outgoing) hasMail(k key) bool { return n.pool.GetConn(k.pool).Info(k.id).Mailbox > 0 }

// lookAgain asks which nodes have the ids with mail here. If an id is found, its mail goes there.
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
