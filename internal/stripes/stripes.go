// Package stripes provides a lock and a counter for many goroutines at once. Each is split into
// stripes, and each stripe has its own cache line. If two processors change the same line for
// each message, passing the line between them costs more than the rest of StreamPool.Add.
package stripes

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	bits     = 4
	number   = 1 << bits // of stripes
	lineSize = 64        // bytes of a cache line
)

// mine returns the stripe of the calling goroutine. Only the address of its stack distinguishes a
// goroutine at no cost. Two goroutines may have the same stripe, and a goroutine may have another
// stripe later.
func mine() int {
	var here byte
	const golden = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio: neighbors fall far apart
	return int(uint64(uintptr(unsafe.Pointer(&here))>>10) * golden >> (64 - bits))
}

// An RWMutex is a sync.RWMutex for many readers. A reader locks one stripe, and a writer all.
type RWMutex [number]struct {
	sync.RWMutex
	_ [lineSize - unsafe.Sizeof(sync.RWMutex{})%lineSize]byte
}

// RLock locks m for reading, and returns the lock on which the caller must call RUnlock.
func (m *RWMutex) RLock() *sync.RWMutex {
	stripe := &m[mine()].RWMutex
	stripe.RLock()
	return stripe
}

// Lock locks m for writing.
func (m *RWMutex) Lock() {
	for i := range m {
		m[i].Lock()
	}
}

// Unlock ends Lock.
func (m *RWMutex) Unlock() {
	for i := range m {
		m[i].Unlock()
	}
}

// A Tally counts messages and their payload.
type Tally [number]struct {
	messages, bytes atomic.Uint64
	_               [lineSize - 2*8]byte
}

// Add adds a number of messages, and their bytes together.
func (t *Tally) Add(messages, bytes int) {
	stripe := &t[mine()]
	stripe.bytes.Add(uint64(bytes))
	stripe.messages.Add(uint64(messages))
}

// Read returns what was counted. It misses nothing that was counted before the call.
func (t *Tally) Read() (messages, bytes uint64) {
	for i := range t {
		messages += t[i].messages.Load()
		bytes += t[i].bytes.Load()
	}
	return messages, bytes
}
