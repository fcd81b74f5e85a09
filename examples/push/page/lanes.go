package page

import (
	"context"
	"sync"
)

// atOnce is how many pushes of one sender may wait for their outcomes.
const atOnce = 8

// Lanes run the pushes of one sender. Pushes to one recipient run one after the other, so that they
// arrive in order. Pushes to different recipients run at once, up to atOnce, so that a slow
// recipient delays no other.
type Lanes struct {
	places  chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	last map[string]chan struct{} // per recipient, closed when its newest push has ended
}

// NewLanes returns the lanes of one sender.
func NewLanes() *Lanes {
	return &Lanes{places: make(chan struct{}, atOnce), last: make(map[string]chan struct{})}
}

// Run starts push, which must end soon after ctx. It waits for a free place, and returns
// false if ctx ends first.
func (l *Lanes) Run(ctx context.Context, to string, push func()) bool {
	select {
	case l.places <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	done := make(chan struct{})
	l.mu.Lock()
	before := l.last[to]
	l.last[to] = done
	l.mu.Unlock()
	l.running.Go(func() {
		defer func() { <-l.places }()
		defer l.leave(to, done)
		if before != nil {
			<-before // its ctx began earlier, so it ends earlier
		}
		push()
	})
	return true
}

func (l *Lanes) leave(to string, done chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last[to] == done {
		delete(l.last, to)
	}
	close(done)
}

// Wait returns when all pushes have ended.
func (l *Lanes) Wait() { l.running.Wait() }
