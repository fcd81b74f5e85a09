// Package outbox holds what waits for one id: a log of messages, each encoded once, as the frame
// in which it leaves. It knows nothing about connections, goroutines or other ids.
package outbox

import (
	"context"
	"sync/atomic"
)

// A Message is what a producer sends to an id or, without an id, to every id.
type Message struct {
	ID         string
	Data       []byte
	Receipt    *Receipt // nil if no producer asks for the outcome
	FromRemote bool     // it came from another process, and is only for a connection here; see account.sift
}

// A Receipt asks for the outcome of one message.
type Receipt struct {
	// Decide receives the outcome, which is nil if the message was written. The caller may hold
	// the id's lock. Decide returns a function that passes the outcome on to the producer who
	// asked for it, or nil if the producer no longer waits for it.
	Decide func(err error) (tell func())
	// Stays keeps the receipt with a message that goes to the mailbox, until that message has its
	// outcome.
	Stays bool
}

// A Receipt takes as much memory as ReceiptCost messages, until its message leaves the log.
const ReceiptCost = 50

// A Count is how many messages there are, how many of them have a Receipt, and their payload,
// which is without headers and newlines.
type Count struct{ Messages, Receipts, Bytes int }

// Plus returns n and o together.
func (n Count) Plus(o Count) Count {
	return Count{n.Messages + o.Messages, n.Receipts + o.Receipts, n.Bytes + o.Bytes}
}

// Minus returns n without o.
func (n Count) Minus(o Count) Count {
	return Count{n.Messages - o.Messages, n.Receipts - o.Receipts, n.Bytes - o.Bytes}
}

// Count counts m.
func (m *Message) Count() Count {
	n := Count{Messages: 1, Bytes: len(m.Data)}
	if m.Receipt != nil {
		n.Receipts = 1
	}
	return n
}

// Tell gives r the outcome, and passes it on to the producer who asked for it. r may be nil.
func (r *Receipt) Tell(err error) {
	if r != nil {
		if tell := r.Decide(err); tell != nil {
			tell()
		}
	}
}

// Await returns a function that waits for the outcome of m. If ctx ends first, the function returns
// ctx's error, and the hook gets the outcome.
func (m *Message) Await() (wait func(ctx context.Context) error) {
	var decided atomic.Bool // by the outcome, or by ctx
	outcome := make(chan error, 1)
	m.Receipt = &Receipt{Decide: func(err error) (tell func()) {
		if !decided.CompareAndSwap(false, true) {
			return nil
		}
		return func() { outcome <- err }
	}}
	return func(ctx context.Context) error {
		select {
		case err := <-outcome:
			return err
		case <-ctx.Done():
			if decided.CompareAndSwap(false, true) {
				return ctx.Err()
			}
			return <-outcome
		}
	}
}
