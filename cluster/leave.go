package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/nulijiabei/gcpool"
)

// Leave ends the node's part in the cluster; its pool serves its own ids as
// before. Other nodes are told, what is on its way is waited for, and what has
// no outcome when ctx ends is reported with ErrUncertain; then Leave returns
// ctx's error. Call it after [gcpool.Pool.Shutdown], which uses the node to
// deliver what is left. nc stays open. Further calls wait for the first, while
// their own ctx lasts, and return the same.
func (n *Node) Leave(ctx context.Context) error {
	if n == nil || ctx == nil {
		return fmt.Errorf("%w: nil node or context", gcpool.ErrInvalid)
	}
	if n.gone.CompareAndSwap(false, true) {
		n.err = n.leave(ctx)
		close(n.left)
		return n.err
	}
	select {
	case <-n.left:
		return n.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) leave(ctx context.Context) error {
	if n.joined {
		_ = n.pool.SetCluster(nil) // fails after Shutdown
	}
	close(n.leaving)
	err := n.settle(ctx)
	settled := err == nil
	close(n.stop)
	n.mu.Lock()
	n.ended = true
	n.mu.Unlock()
	n.sweep(true)
	n.self.Store(nil)
	ended := make(chan struct{})
	go func() {
		n.unsubscribe()
		n.running.Wait()
		if settled {
			n.farewell()
		}
		n.flush(ctx)
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done(): // nc may be held up in a write; they end after it
		err = ctx.Err()
	}
	return err
}

// farewell tells each node how many answers it should have got.
func (n *Node) farewell() {
	n.mu.Lock()
	counts := map[string]uint64{}
	for node := range n.members {
		counts[node] = 0
	}
	for node, w := range n.windows {
		counts[node] = w.answers
	}
	for node, count := range counts {
		n.answerLocked(node, count, farewell, nil, "")
	}
	n.mu.Unlock()
	n.publishing.Lock()
	defer n.publishing.Unlock()
	n.round()
}

// departed handles a farewell. If all answers of that node have come, what has none was never
// taken there, and is sent again. If not, the node is as one that has died: it may have taken
// what is on its way.
func (n *Node) departed(node string, answers uint64) {
	n.mu.Lock()
	all := n.windowLocked(node).heard == answers
	delete(n.windows, node)
	if m := n.members[node]; m == nil && len(n.members) < maxNodes {
		n.members[node] = &member{heard: time.Now(), gone: true, over: all}
	} else if m != nil {
		m.gone, m.over = true, all
	}
	var moved, lost []*request
	for number, r := range n.out {
		switch {
		case r.node == node && (all || r.kind == where):
			moved = append(moved, r)
		case r.node == node:
			lost = append(lost, r)
		default:
			r.asked = time.Time{} // it may be known now
			continue
		}
		n.uncountLocked(r)
		delete(n.out, number)
	}
	n.mu.Unlock()
	for _, r := range moved {
		n.retry(r)
	}
	for _, r := range lost {
		n.finish(r, ErrUncertain)
	}
}

// flush waits until NATS has the last answers, up to WithTimeout.
func (n *Node) flush(ctx context.Context) {
	n.publishing.Lock() // a goroutine of the pool may be sending one
	defer n.publishing.Unlock()
	if n.nc.IsConnected() {
		ctx, cancel := context.WithTimeout(ctx, n.timeout)
		defer cancel()
		_ = n.nc.FlushWithContext(ctx)
	}
}

// settle waits until nothing is on its way. Once the ids are withdrawn no more requests
// come, and once receive is idle all that came are in deliveries.
func (n *Node) settle(ctx context.Context) error {
	for {
		if n.withdrawn.Load() && len(n.in) == 0 {
			select {
			case n.idle <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			n.mu.Lock()
			left := n.open + len(n.deliveries) + len(n.pending) + len(n.broadcasts)
			n.mu.Unlock()
			if left == 0 {
				return nil
			}
		}
		select {
		case <-time.After(retryDelay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
