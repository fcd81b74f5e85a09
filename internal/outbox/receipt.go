package outbox

import (
	"context"
	"sync/atomic"
)

// A Receipt is given the outcome of one message, nil if it was written, under
// its box's lock. It returns what tells the caller who waits for it, or nil if
// nobody does any more.
type Receipt func(err error) (tell func())

// receiptCost is how many messages a Receipt takes as much memory as, also when
// nobody waits for it any more.
const receiptCost = 50

// receipts returns how many Receipts m has.
func (m *Message) receipts() int {
	if m.Receipt == nil {
		return 0
	}
	return 1
}

// decide is r, which may be nil.
func (r Receipt) decide(err error) (tell func()) {
	if r == nil {
		return nil
	}
	return r(err)
}

// Await has the outcome of m waited for, by the function that it returns: until
// ctx ends, when it returns ctx's error and leaves the outcome to the hook.
func (m *Message) Await() (wait func(ctx context.Context) error) {
	var decided atomic.Bool // by the outcome, or by ctx
	var outcome error
	done := make(chan struct{})
	m.Receipt = func(err error) (tell func()) {
		if !decided.CompareAndSwap(false, true) {
			return nil
		}
		outcome = err
		return func() { close(done) }
	}
	return func(ctx context.Context) error {
		select {
		case <-done:
		case <-ctx.Done():
			if decided.CompareAndSwap(false, true) {
				return ctx.Err()
			}
			<-done
		}
		return outcome
	}
}

// PushAll accepts a batch from elsewhere for b's connection, but does not wait.
// It returns how many messages it took, and why not the rest. done is given the
// outcomes of those, once all are known. None is written that is behind one with
// ErrMoved, hence the one lock.
func (b *Box) PushAll(batch [][]byte, done func(errs []error)) (taken int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	errs := make([]error, len(batch))
	left := 1 // until all are in; b.mu
	settle := func() {
		if left--; left == 0 && taken > 0 {
			b.group.spawn(func() { done(errs[:taken]) })
		}
	}
	defer settle()
	for i, data := range batch {
		m := Message{ID: b.ID, Data: data, Here: true, Receipt: func(err error) func() {
			errs[i] = err
			return settle
		}}
		left++
		wait, err := b.tryLocked(&m)
		if wait > 0 {
			err = context.Canceled
		}
		if err != nil {
			left--
			return taken, err
		}
		taken++
		b.wakeLocked()
	}
	return taken, nil
}
