//go:build unix

package main

import (
	"errors"
	"sync"
	"syscall"
	"time"
)

// A fault is something that happens to a fleet, and is over when do returns.
type fault struct {
	name  string
	setup setup
	do    func(f *fleet) error
}

// A setup is how a fleet differs from the usual one.
type setup struct {
	mailbox bool
	server  string // lines of the servers' configuration
	login   string // of nodes, with an @
	large   int    // with n, every nth push has 10 KiB; 0 is none
}

var faults = []fault{
	{"none", setup{}, wait},
	{"rolling-restart", setup{}, roll},
	{"rolling-restart-mailbox", setup{mailbox: true}, roll},
	{"rolling-restart-lossy", setup{}, func(f *fleet) error {
		lossy := make(chan error, 1)
		go func() { lossy <- routes(7*time.Second, condition{delay: 50 * time.Millisecond, loss: 0.05})(f) }()
		return errors.Join(roll(f), <-lossy)
	}},
	{"node-killed", setup{}, func(f *fleet) error { return f.nodes[1].restart(time.Second) }},
	{"node-stopped-2s", setup{}, func(f *fleet) error { return pause(f.nodes[1], 2*time.Second) }},
	{"node-stopped-6s", setup{}, func(f *fleet) error { return pause(f.nodes[1], 6*time.Second) }},
	{"node-stopped-20s", setup{}, func(f *fleet) error { return pause(f.nodes[1], 20*time.Second) }},
	{"server-killed", setup{}, func(f *fleet) error { return f.servers[1].restart(time.Second) }},
	{"server-stopped-2s", setup{}, func(f *fleet) error { return pause(f.servers[1], 2*time.Second) }},
	{"server-stopped-6s", setup{}, func(f *fleet) error { return pause(f.servers[1], 6*time.Second) }},
	{"server-stopped-20s", setup{}, func(f *fleet) error { return pause(f.servers[1], 20*time.Second) }},
	{"server-vanished", setup{}, func(f *fleet) error { // for its node; the others lose the node
		return f.way.during(10*time.Second, condition{silent: both}, condition{refused: true})
	}},
	{"node-cut-2s", setup{}, func(f *fleet) error { return f.way.during(2*time.Second, condition{refused: true}) }},
	{"route-reset-1s", setup{}, routes(time.Second, condition{refused: true})},
	{"route-reset-1s-mailbox", setup{mailbox: true}, routes(time.Second, condition{refused: true})},
	{"route-cut-5s", setup{}, routes(5*time.Second, condition{refused: true})},
	{"route-cut-15s", setup{}, routes(15*time.Second, condition{silent: both})},
	{"route-cut-30s", setup{}, routes(30*time.Second, condition{silent: both})},
	{"route-one-way-10s", setup{}, routes(10*time.Second, condition{silent: outward})},
	{"route-lossy", setup{}, routes(10*time.Second, condition{delay: 50 * time.Millisecond, loss: 0.05})},
	{"clock-1h", setup{}, func(f *fleet) error { return skewed(f, -time.Hour, wait) }},
	{"clock-30s-route-cut-5s", setup{}, func(f *fleet) error {
		return skewed(f, 30*time.Second, routes(5*time.Second, condition{refused: true}))
	}},
	{"max-payload-8k", setup{server: "max_payload: 8192", large: 50}, wait},
	{"permissions", setup{login: "node:secret@", server: `authorization { users = [ { user: node, password: secret, permissions: {
		publish: "gcpool.>", subscribe: "gcpool.>" } } ] }`}, wait},
	{"slow-consumer", setup{server: `max_payload: 65536, max_pending: 131072, write_deadline: "500ms"`, large: 1}, func(f *fleet) error {
		return pause(f.nodes[1], 6*time.Second)
	}},
}

func wait(*fleet) error {
	time.Sleep(2 * time.Second)
	return nil
}

// skewed restarts a node with a wrong wall clock, and then calls do.
func skewed(f *fleet, ahead time.Duration, do func(f *fleet) error) error {
	last := nodes - 1
	f.ahead[last] = ahead
	f.unlist(last)
	if err := errors.Join(f.nodes[last].stop(), f.nodes[last].restart(0)); err != nil {
		return err
	}
	return do(f)
}

// routes returns a function that breaks the routes of the last server for d.
func routes(d time.Duration, c condition) func(f *fleet) error {
	return func(f *fleet) error {
		var wg sync.WaitGroup
		for _, p := range f.routes {
			wg.Go(func() { _ = p.during(d, c) })
		}
		wg.Wait()
		return nil
	}
}

// roll restarts all nodes, one after the other. The balancer knows in advance, so no user connects
// to a node that is about to stop.
func roll(f *fleet) error {
	for i, p := range f.nodes {
		f.unlist(i)
		if err := p.stop(); err != nil {
			return err
		}
		time.Sleep(time.Second)
		if err := p.restart(0); err != nil {
			return err
		}
		time.Sleep(time.Second)
	}
	return nil
}

func pause(p *process, d time.Duration) error {
	err := p.signal(syscall.SIGSTOP)
	time.Sleep(d)
	return errors.Join(err, p.signal(syscall.SIGCONT))
}
