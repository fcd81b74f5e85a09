package people

import (
	"context"
	"sync"
)

// atOnce is how many pushes of one sender may wait for their outcomes.
const atOnce = 8

// lanes runs the pushes of one sender: to one recipient one after the other, so
// that they arrive in order, to several side by side, and few at a time. A
// recipient who is slow so keeps no other waiting, and nobody forever.
type lanes struct {
	places  chan struct{}
	running sync.WaitGroup

	mu   sync.Mutex
	last map[string]chan struct{} // per recipient, closed when its newest push has ended
}

func newLanes() *lanes {
	return &lanes{places: make(chan struct{}, atOnce), last: make(map[string]chan struct{})}
}

// run starts push, which must end soon after ctx. It waits for a place, and
// reports false if ctx ended first.
func (l *lanes) run(ctx context.Context, to string, push func()) bool {
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

func (l *lanes) leave(to string, done chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last[to] == done {
		delete(l.last, to)
	}
	close(done)
}

// wait returns when all pushes have ended.
func (l *lanes) wait() { l.running.Wait() }
