package peers

import (
	"maps"
	"slices"
	"sync"
)

// queue is how many messages may wait for one connection, for each peer that lets us set it. 256 is
// the length of the channel in gorilla's chat example, and melody's default.
const queue = 256

// hub knows the connections by id. Peers without a registry need it; so would an
// application that uses them.
type hub[T comparable] struct {
	mu    sync.RWMutex
	users map[string]T
}

func (h *hub[T]) add(id string, conn T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users == nil {
		h.users = make(map[string]T)
	}
	h.users[id] = conn
}

func (h *hub[T]) del(id string, conn T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users[id] == conn {
		delete(h.users, id)
	}
}

func (h *hub[T]) get(user int) (T, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	conn, ok := h.users[ids[user]]
	return conn, ok
}

func (h *hub[T]) all() []T {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Collect(maps.Values(h.users))
}

// Len returns how many users are connected.
func (h *hub[T]) Len() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.users)
}

// gate bounds how many messages are queued on one connection. It gives backpressure to
// peers whose queue drops messages or grows when it is full, but which report when a
// message has left.
type gate struct {
	mu     sync.Mutex
	room   sync.Cond
	used   int
	closed bool
}

func newGate() *gate {
	g := new(gate)
	g.room.L = &g.mu
	return g
}

// enter waits for room. It returns false once the gate is closed.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.used >= queue && !g.closed {
		g.room.Wait()
	}
	g.used++
	return !g.closed
}

// leave makes room. It wakes a waiting producer only when half of the room is free,
// because a wake-up for each message would slow the peer down.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.used--; g.used == queue/2 {
		g.room.Broadcast()
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.room.Broadcast()
}
