//go:build unix

package main

import (
	"net"
	"sync"
)

// A proxy is the way of TCP connections, which can be cut, and blocked without a word as
// by a machine that has vanished.
type proxy struct {
	net.Listener
	to      string
	mu      sync.Mutex
	blocked *sync.Cond // mu
	block   bool
	shut    bool
	conns   map[net.Conn]struct{}
}

func newProxy(to string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{Listener: l, to: to, conns: map[net.Conn]struct{}{}}
	p.blocked = sync.NewCond(&p.mu)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(c)
		}
	}()
	return p, nil
}

func (p *proxy) pass(c net.Conn) {
	d, err := net.Dial("tcp", p.to)
	if err != nil {
		c.Close()
		return
	}
	p.mu.Lock()
	if p.shut {
		c.Close()
		d.Close()
	} else {
		p.conns[c], p.conns[d] = struct{}{}, struct{}{}
	}
	p.mu.Unlock()
	go p.copy(c, d)
	p.copy(d, c)
}

func (p *proxy) copy(to, from net.Conn) {
	defer func() {
		to.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		for p.block && !p.shut {
			p.blocked.Wait()
		}
		p.mu.Unlock()
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// set says whether connections are blocked, or cut and refused.
func (p *proxy) set(block, shut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.block, p.shut = block, shut
	if shut {
		for c := range p.conns {
			c.Close()
		}
	}
	p.blocked.Broadcast()
}

func (p *proxy) end() {
	p.Close()
	p.set(false, true)
}
