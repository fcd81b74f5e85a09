package cluster

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/nulijiabei/gcpool"
)

// Leave takes the node out of the cluster. Its pool continues to serve its own ids. Leave tells the
// other nodes, and waits for the outcomes of messages that are on their way. If ctx ends first, it
// reports these messages with ErrUncertain and returns ctx's error. nc stays open. A second call
// waits for the first, until its own ctx ends, and returns the same error.
//
// Call Leave after [gcpool.Pool.Shutdown], which still needs the node to deliver what is left.
// Leave then waits until each user of this node is connected to another node, for about 2 s after
// the user's connection here has ended. Until then the other nodes keep the messages that are
// pushed to the user, and then deliver them to the user's new node.
func (n *Node) Leave(ctx context.Context) error {
	if !n.joined() || ctx == nil {
		return fmt.Errorf("%w: no node or nil context", gcpool.ErrInvalid)
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
	_ = n.pool.SetCluster(nil) // fails after Shutdown
	wake(n.changed)
	unsettled := n.settle(ctx)
	n.ended.Store(true)
	close(n.stop)
	n.sweep()
	held := await(ctx, func() {
		n.unsubscribe()
		n.running.Wait()
		if unsettled == nil {
			n.farewell()
		}
		n.flush(ctx)
	})
	return cmp.Or(unsettled, held)
}

// await calls f, and waits until f returns. If ctx ends first, await returns ctx's error, and f
// goes on: nothing can interrupt a write of nc.
func await(ctx context.Context, f func()) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle waits until no message is on its way. Once the ids are withdrawn, accept takes no more
// requests, and all requests that it has taken are in deliveries. If receive is still refusing
// requests, its answers leave with the farewell.
func (n *Node) settle(ctx context.Context) error {
	for {
		if n.withdrawn.Load() && len(n.in) == 0 {
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
