//go:build unix

package main

import (
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"
)

// A way is how the packets of one process reach another.
type way interface {
	address() string
	// during puts the way into the first condition for d, then into each of the others for a
	// moment, and then makes it work again.
	during(d time.Duration, all ...condition) error
	end()
}

// namespaceEnv tells this program that it has a network namespace of its own.
const namespaceEnv = "GCPOOL_TORTURE_NAMESPACE"

// newWay returns a way to a port of this machine: through the kernel in a namespace of our own, and
// otherwise through a proxy.
func newWay(port int) (way, error) {
	if os.Getenv(namespaceEnv) != "" {
		return packets{port}, nil
	}
	return newProxy(address(port))
}

// listenHost returns where servers listen: in a namespace of our own, also at farHost.
func listenHost() string {
	if os.Getenv(namespaceEnv) != "" {
		return "0.0.0.0"
	}
	return "127.0.0.1"
}

// A proxy is a way for TCP connections that can break as a network does.
type proxy struct {
	net.Listener
	to      string
	mu      sync.Mutex
	changed *sync.Cond // mu
	condition
	conns map[net.Conn]struct{}
}

// A condition is the state of a way.
type condition struct {
	refused bool          // connections are cut and refused
	silent  direction     // nothing passes, and there is no error, as if a machine had vanished
	delay   time.Duration // each way
	loss    float64       // share of packets; TCP sends these again, and later packets wait
}

type direction byte

const (
	outward direction = 1 << iota // from the process that dialed
	inward
	both = outward | inward
)

// resend is about how long TCP takes to send a lost packet again.
const resend = 300 * time.Millisecond

func newProxy(to string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{Listener: l, to: to, conns: map[net.Conn]struct{}{}}
	p.changed = sync.NewCond(&p.mu)
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
	if p.refused {
		c.Close()
		d.Close()
	} else {
		p.conns[c], p.conns[d] = struct{}{}, struct{}{}
	}
	p.mu.Unlock()
	go p.copy(c, d, inward)
	p.copy(d, c, outward)
}

// A packet is the data of one read, with the time at which it arrives.
type packet struct {
	data []byte
	at   time.Time
}

func (p *proxy) copy(to, from net.Conn, way direction) {
	packets := make(chan packet, 1000)
	defer close(packets)
	go func() {
		for packet := range packets {
			time.Sleep(time.Until(packet.at))
			p.mu.Lock()
			for p.silent&way != 0 && !p.refused {
				p.changed.Wait()
			}
			p.mu.Unlock()
			_, _ = to.Write(packet.data) // if it fails, from ends too
		}
		to.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	for {
		buf := make([]byte, 32<<10)
		n, err := from.Read(buf)
		p.mu.Lock()
		at := time.Now().Add(p.delay)
		if rand.Float64() < p.loss {
			at = at.Add(resend)
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
		packets <- packet{buf[:n], at}
	}
}

// set changes the condition of the way.
func (p *proxy) set(c condition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.condition = c
	if p.refused {
		for c := range p.conns {
			c.Close()
		}
	}
	p.changed.Broadcast()
}

func (p *proxy) address() string { return p.Addr().String() }

func (p *proxy) during(d time.Duration, all ...condition) error {
	for i, c := range all {
		p.set(c)
		if i == 0 {
			time.Sleep(d)
		}
	}
	p.set(condition{})
	return nil
}

func (p *proxy) end() {
	p.Close()
	p.set(condition{refused: true})
}
