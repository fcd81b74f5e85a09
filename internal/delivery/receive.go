package delivery

import (
	"context"

	"github.com/nulijiabei/gcpool/internal/outbox"
)

// PushAll accepts a batch from elsewhere for r's connection, but does not wait. It returns
// how many messages it took, and why not the rest. done is given the outcomes of those, once
// all are known. None is written that is behind one with ErrMoved, hence the one lock.
func (r *Recipient) PushAll(batch [][]byte, done func(errs []error)) (taken int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	errs := make([]error, len(batch))
	left := 1 // until all are in; r.mu
	settle := func() {
		if left--; left == 0 && taken > 0 {
			r.group.tasks.Go(func() { done(errs[:taken]) })
		}
	}
	defer settle()
	for i, data := range batch {
		m := outbox.Message{ID: r.ID, Data: data, Here: true, Receipt: func(err error) func() {
			errs[i] = err
			return settle
		}}
		left++
		wait, err := r.tryLocked(&m)
		if wait > 0 {
			err = context.Canceled
		}
		if err != nil {
			left--
			return taken, err
		}
		taken++
		r.cursor.wakeLocked()
	}
	return taken, nil
}
