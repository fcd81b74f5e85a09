//go:build unix

package main

import (
	"errors"
	"syscall"
	"time"
)

// A fault is something that happens to a fleet, and is over when do returns.
type fault struct {
	name    string
	mailbox bool
	do      func(f *fleet) error
}

var faults = []fault{
	{"none", false, func(*fleet) error { time.Sleep(2 * time.Second); return nil }},
	{"rolling-restart", false, roll},
	{"rolling-restart-mailbox", true, roll},
	{"node-killed", false, func(f *fleet) error { return f.nodes[1].restart(time.Second) }},
	{"node-stopped-2s", false, func(f *fleet) error { return pause(f.nodes[1], 2*time.Second) }},
	{"node-stopped-6s", false, func(f *fleet) error { return pause(f.nodes[1], 6*time.Second) }},
	{"server-killed", false, func(f *fleet) error { return f.servers[1].restart(time.Second) }},
	{"server-stopped-2s", false, func(f *fleet) error { return pause(f.servers[1], 2*time.Second) }},
	{"server-stopped-6s", false, func(f *fleet) error { return pause(f.servers[1], 6*time.Second) }},
	{"server-vanished", false, func(f *fleet) error { // for its node; the others lose the node
		f.way.set(true, false)
		time.Sleep(10 * time.Second)
		f.way.set(false, true)
		f.way.set(false, false)
		return nil
	}},
	{"route-reset-1s", false, func(f *fleet) error { return cut(f, time.Second) }},
	{"route-reset-1s-mailbox", true, func(f *fleet) error { return cut(f, time.Second) }},
	{"route-cut-5s", false, func(f *fleet) error { return cut(f, 5*time.Second) }},
	{"node-cut-2s", false, func(f *fleet) error {
		f.way.set(false, true)
		time.Sleep(2 * time.Second)
		f.way.set(false, false)
		return nil
	}},
}

// roll restarts all nodes, one after the other, each after the balancer of its users knows.
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

// cut cuts the routes of the last server.
func cut(f *fleet, d time.Duration) error {
	for _, p := range f.routes {
		p.set(false, true)
	}
	time.Sleep(d)
	for _, p := range f.routes {
		p.set(false, false)
	}
	return nil
}
