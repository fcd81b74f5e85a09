package upgrade

import (
	"slices"
	"sync"
)

// lingerersMost is how many connections may be between the beginning and the end of their
// close. It bounds the sockets of the process, so all pools share it.
const lingerersMost = 1024

// lingerers are those connections.
var lingerers conns

// conns are connections, oldest first.
type conns struct {
	mu  sync.Mutex // a leaf, below that of a Conn
	all []*Conn
}

// join adds c. If there are too many, the oldest is killed.
func (l *conns) join(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all = append(l.all, c); len(l.all) > lingerersMost {
		go l.all[0].Kill()
		l.all = slices.Delete(l.all, 0, 1)
	}
}

// leave removes c, if it is there still.
func (l *conns) leave(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.all, c); i >= 0 {
		l.all = slices.Delete(l.all, i, i+1)
	}
}
