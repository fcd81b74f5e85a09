package cluster

import (
	"net"
	"sync"
	"testing"
)

// A proxy passes TCP connections on, and can hold them up or cut them.
type proxy struct {
	net.Listener
	to string

	mu    sync.Mutex
	moved *sync.Cond // mu
	held  bool
	shut  bool // accepts no more connections
	conns map[net.Conn]struct{}
}

// through returns a proxy for an address.
func through(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to, conns: map[net.Conn]struct{}{}}
	p.moved = sync.NewCond(&p.mu)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("tcp", to)
			if err != nil || !p.keep(c, d) {
				c.Close()
				continue
			}
			wg.Go(func() { p.copy(c, d) })
			wg.Go(func() { p.copy(d, c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.hold(false)
		wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.Addr().String() }

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.shut {
			c.Close()
		} else {
			p.conns[c] = struct{}{}
		}
	}
	return !p.shut
}

func (p *proxy) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		for p.held {
			p.moved.Wait()
		}
		p.mu.Unlock()
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			break
		}
	}
	to.Close()
	from.Close()
}

// hold stops all traffic, or lets it go on.
func (p *proxy) hold(held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = held
	p.moved.Broadcast()
}

// cut closes all connections, and accepts no more until mend.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = true
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = false
}
