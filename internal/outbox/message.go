// Package outbox holds what waits for one id: a log of messages, encoded once, each as the
// frame in which it leaves. It knows no connections, no goroutines and no other ids.
package outbox

import (
	"context"
	"sync/atomic"
)

// A Message is what a producer has for an id, or without an id for every one.
type Message struct {
	ID      string
	Data    []byte
	Receipt Receipt // nil if nobody waits for the outcome
	Here    bool    // it came from another process, for a connection here or for nobody
}

// A Receipt is given the outcome of one message, nil if it was written, under the lock of
// its id. It returns what tells the caller who waits for it, or nil if nobody does any more.
type Receipt func(err error) (tell func())

// ReceiptCost is how many messages a Receipt takes as much memory as, also when nobody
// waits for it any more.
const ReceiptCost = 50

// Decide is r, which may be nil.
func (r Receipt) Decide(err error) (tell func()) {
	if r == nil {
		return nil
	}
	return r(err)
}

// Receipts returns how many Receipts m has.
func (m *Message) Receipts() int {
	if m.Receipt == nil {
		return 0
	}
	return 1
}

// Await has the outcome of m waited for, by the function that it returns: until ctx ends,
// when it returns ctx's error and leaves the outcome to the hook.
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
