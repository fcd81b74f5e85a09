package main

import (
	"errors"
	"net"
	"sync"
	"syscall"

	"github.com/nulijiabei/gcpool/torture/internal/peer"
)

// A gate is a peer's end of a connection that can stop reading.
type gate struct {
	net.Conn

	mu     sync.Mutex
	change *sync.Cond
	open   bool
	closed bool
}

func newGate(conn net.Conn) *gate {
	g := &gate{Conn: conn, open: true}
	g.change = sync.NewCond(&g.mu)
	return g
}

// set opens or shuts g.
func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = open
	g.change.Broadcast()
}

// shut reports whether g is shut.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.open
}

// Read implements [net.Conn].
func (g *gate) Read(p []byte) (int, error) {
	g.mu.Lock()
	for !g.open && !g.closed {
		g.change.Wait()
	}
	g.mu.Unlock()
	return g.Conn.Read(p)
}

// Close implements [net.Conn].
func (g *gate) Close() error {
	g.mu.Lock()
	g.closed = true
	g.change.Broadcast()
	g.mu.Unlock()
	return g.Conn.Close()
}

// broken reports whether err is a normal end of a connection that was closed or reset.
func broken(err error) bool {
	return !errors.Is(err, peer.ErrProtocol) && (errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}
