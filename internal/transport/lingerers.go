package transport

import (
	"container/list"
	"sync"
)

// lingerersMost is how many connections may be between the begin of their close and its
// end. The bound is one on the process's sockets, so all pools share it.
const lingerersMost = 1024

// lingerers are those connections.
var lingerers struct {
	mu   sync.Mutex // a leaf, below that of a Conn
	list list.List  // of *Conn, oldest first
}

// joinLocked puts c among the lingerers. It returns the oldest if that is to give way.
func (c *Conn) joinLocked() (oldest *Conn) {
	lingerers.mu.Lock()
	defer lingerers.mu.Unlock()
	c.end.place = lingerers.list.PushBack(c)
	if lingerers.list.Len() > lingerersMost {
		oldest = lingerers.list.Remove(lingerers.list.Front()).(*Conn)
	}
	return oldest
}

// leaveLocked takes c from among the lingerers, if it is there still.
func (c *Conn) leaveLocked() {
	lingerers.mu.Lock()
	defer lingerers.mu.Unlock()
	lingerers.list.Remove(c.end.place)
}
