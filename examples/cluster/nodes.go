package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/cluster"
	"github.com/nulijiabei/gcpool/examples/push/page"
)

const (
	// prefix keeps this example apart from others on the same NATS server.
	prefix = "gcpool-example"
	// lost is how long a node waits for the outcome of a message before the outcome is uncertain.
	// It is shorter than patience, so that the sender learns of it.
	lost = 3 * time.Second
	// goodbye is how long a node may take to leave.
	goodbye = 5 * time.Second
)

// A node stands for one machine.
type node struct {
	nc       *nats.Conn
	member   *cluster.Node
	app      *app
	listener net.Listener
}

// nodes are all nodes of this process.
type nodes []*node

// start starts a node for each listener.
func start(b *bus, name string, listeners []net.Listener) (nodes, error) {
	c := page.Config{Key: page.NewKey()}
	for i, l := range listeners {
		c.Nodes = append(c.Nodes, page.Node{Name: fmt.Sprint(name, " ", i+1), Port: l.Addr().(*net.TCPAddr).Port})
	}
	var all nodes
	for i, l := range listeners {
		c.Node = c.Nodes[i].Name
		n, err := join(b, c, l)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", c.Node, err), all.end())
		}
		all = append(all, n)
	}
	return all, nil
}

// join starts a node. The pool joins before it starts, because until it joins, messages for
// people on other nodes are undelivered.
func join(b *bus, c page.Config, listener net.Listener) (*node, error) {
	nc, err := b.connect(c.Node)
	if err != nil {
		return nil, err
	}
	pool := gcpool.NewPool()
	member, err := cluster.Join(pool, nc, cluster.WithName(c.Node), cluster.WithPrefix(prefix), cluster.WithTimeout(lost))
	if err != nil {
		nc.Close()
		return nil, err
	}
	n := &node{nc: nc, member: member, listener: listener}
	c.Directory = &directory{member, pool, nc}
	if n.app, err = newApp(pool, c, n.reason); err != nil {
		return nil, errors.Join(err, n.leave())
	}
	return n, nil
}

// reason puts an outcome into words, and reports whether the message may have arrived nevertheless.
func (n *node) reason(to string, err error) (why string, uncertain bool) {
	switch {
	case errors.Is(err, cluster.ErrUncertain):
		return fmt.Sprintf("%s's node or NATS was lost on the way, so it may have been delivered.", to), true
	case errors.Is(err, gcpool.ErrNotConnected) && !n.nc.IsConnected():
		return fmt.Sprintf("%s is not connected to this node, and NATS, which knows the others, is away.", to), false
	}
	return page.Reason(to, err), false
}

// leave ends the node's part in the cluster.
func (n *node) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	err := n.member.Leave(ctx)
	n.nc.Close()
	return err
}

// serve serves people until ctx ends, or a node fails.
func (all nodes) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return all.each(func(n *node) error {
		defer cancel()
		return page.Serve(ctx, n.listener, n.app.handler())
	})
}

// end ends all nodes, after they have stopped accepting connections. First each node delivers the
// messages that are left, for which it may need the other nodes, and closes its connections. Then
// the nodes leave the cluster.
func (all nodes) end() error {
	return errors.Join(
		all.each(func(n *node) error { return n.app.shutdown() }),
		all.each((*node).leave),
	)
}

// each calls do for all nodes at once.
func (all nodes) each(do func(n *node) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, n := range all {
		wg.Go(func() {
			if err := do(n); err != nil {
				errs[i] = fmt.Errorf("%s: %w", n.member.Name(), err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
