// Package proxy sits between peers and a server on loopback TCP, and
// makes the network between them fail.
package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// A Proxy passes the connections of its listener on to a server. Its methods may
// be called from any number of goroutines at once.
type Proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu     sync.Mutex
	change *sync.Cond // of the fields below
	pairs  map[*pair]bool
	closed bool
	paused bool
	hole   bool
	limit  int // bytes from the server after which everything is reset; 0 is none
	piece  int
	pause  time.Duration
}

// pair is one connection through the proxy.
type pair struct{ client, server *net.TCPConn }

// New returns a Proxy to target. Its buffer toward the server is
// small, so that the server feels a fault soon.
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, target: target, pairs: make(map[*pair]bool), piece: 16 << 10}
	p.change = sync.NewCond(&p.mu)
	p.wg.Go(p.serve)
	return p, nil
}

// Addr is the address that peers dial.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Pause stops reading from the server, or resumes it.
func (p *Proxy) Pause(on bool) { p.set(func() { p.paused = on }) }

// Blackhole takes everything and passes nothing on, in both directions. The end of a connection
// still arrives, as an RST, because a test must end.
func (p *Proxy) Blackhole() { p.set(func() { p.hole = true }) }

// Trickle passes the server's bytes in pieces of the given size, with a pause after each.
func (p *Proxy) Trickle(piece int, pause time.Duration) {
	p.set(func() { p.piece, p.pause = piece, pause })
}

// ResetAfter does a Reset once n more bytes have come from the server.
func (p *Proxy) ResetAfter(n int) { p.set(func() { p.limit = n }) }

// Reset sends an RST to both ends of each connection.
func (p *Proxy) Reset() {
	p.set(func() {
		for c := range p.pairs {
			delete(p.pairs, c)
			abort(c.server)
			abort(c.client)
		}
	})
}

// Close closes the listener and all connections, and waits for its goroutines.
func (p *Proxy) Close() {
	p.listener.Close()
	p.set(func() { p.closed = true })
	p.Reset()
	p.wg.Wait()
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.change.Broadcast()
	change()
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			abort(client.(*net.TCPConn))
			continue
		}
		p.wg.Go(func() { p.join(&pair{client.(*net.TCPConn), server.(*net.TCPConn)}) })
	}
}

// join passes bytes both ways until both have ended.
func (p *Proxy) join(c *pair) {
	defer c.client.Close()
	defer c.server.Close()
	c.server.SetReadBuffer(16 << 10)
	late := false
	p.set(func() {
		late = p.closed
		p.pairs[c] = true
	})
	if late {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pass(c, c.client, c.server, false) })
	both.Go(func() { p.pass(c, c.server, c.client, true) })
	both.Wait()
	p.set(func() { delete(p.pairs, c) })
}

// pass copies from one end to the other until either ends, and passes the end on. It passes an
// RST on as an RST, because after a proper end the peer would believe that it has everything.
func (p *Proxy) pass(c *pair, from, to *net.TCPConn, down bool) {
	buf := make([]byte, 16<<10)
	for {
		piece := len(buf)
		if down {
			piece = p.wait(c)
		}
		n, err := from.Read(buf[:piece])
		lost, pause := p.took(n, down)
		if n > 0 && !lost {
			if _, failed := to.Write(buf[:n]); failed != nil {
				abort(from)
				return
			}
		}
		switch {
		case err == nil:
			time.Sleep(pause)
		case errors.Is(err, io.EOF) && !lost:
			to.CloseWrite()
			return
		default:
			abort(to)
			return
		}
	}
}

// wait waits while c is paused, and returns how much to read.
func (p *Proxy) wait(c *pair) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.paused && p.pairs[c] {
		p.change.Wait()
	}
	return p.piece
}

// took decides what happens to n bytes that were read.
func (p *Proxy) took(n int, down bool) (lost bool, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !down {
		return p.hole, 0
	}
	if p.limit > 0 {
		if p.limit -= n; p.limit <= 0 {
			p.limit = 0
			p.wg.Go(p.Reset)
		}
	}
	return p.hole, p.pause
}

// abort closes c with an RST.
func abort(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
