// Package server is the side that the benchmark measures: one peer behind an HTTP server,
// and the goroutines that push to it, in a process of their own.
package server

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/clock"
	"github.com/nulijiabei/gcpool/bench/internal/peers"
)

// Server runs one peer. The benchmark's main process calls its exported methods through
// net/rpc.
type Server struct {
	// Wrap, if set, wraps the peer. Tests use it to break the peer.
	Wrap func(peers.Peer) peers.Peer

	peer peers.Peer
	http *http.Server
	next [peers.MaxUsers]int64 // the sequence number of each user's next message
}

// Started says where the peer listens.
type Started struct{ Addr string }

// Usage is the CPU time and memory that the process has used.
type Usage struct {
	CPU    int64 // nanoseconds, so far
	Memory int64 // bytes of live heap and stacks, after a collection
}

// Start makes the peer of that name and serves it on a port of 127.0.0.1.
func (s *Server) Start(name string, r *Started) error {
	spec, err := peers.Find(name)
	if err != nil {
		return err
	}
	if s.peer, err = spec.New(); err != nil {
		return err
	}
	if s.Wrap != nil {
		s.peer = s.Wrap(s.peer)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.http = &http.Server{Handler: s.peer.Handler(), ReadHeaderTimeout: 20 * time.Second}
	go s.http.Serve(l)
	r.Addr = l.Addr().String()
	return nil
}

// Await waits until so many users are connected.
func (s *Server) Await(users int, _ *struct{}) error {
	for end := time.Now().Add(30 * time.Second); s.peer.Len() != users; {
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d users are connected", s.peer.Len(), users)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// Measure returns the CPU time that the process has used. It is cheap.
func (s *Server) Measure(_ struct{}, r *Usage) error {
	r.CPU = clock.CPU()
	return nil
}

// Weigh returns the memory in use after a thorough garbage collection.
func (s *Server) Weigh(_ struct{}, r *Usage) error {
	r.Memory = live()
	return nil
}

// Close ends the peer.
func (s *Server) Close() {
	if s.http != nil {
		_ = s.http.Close()
		s.peer.Close()
	}
}

// live returns the bytes of heap and stacks in use. Two collections empty the
// sync.Pools, and shrink stacks.
func live() int64 {
	for range 3 {
		debug.FreeOSMemory()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
