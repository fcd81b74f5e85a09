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
