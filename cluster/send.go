package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// send is the goroutine that publishes requests and answers. Publishing blocks while NATS does not
// read, and receive must not wait for that.
func (n *outgoing) send() {
	for {
		select {
		case <-n.sending:
		case <-n.stop:
			return
		}
		for n.round() {
		}
	}
}

// round publishes the messages and requests that wait, and reports whether more have come
// meanwhile.
func (n *outgoing) round() (more bool) {
	limit, away := int(n.nc.MaxPayload()), !n.nc.IsConnected()
	n.mu.Lock()
	n.limit, n.away = limit, away
	pending := n.pending
	n.pending, n.broadcasting = nil, 0
	clear(n.slots)
	n.mu.Unlock()
	for _, p := range pending {
		n.publish(p.subject, p.data)
	}
	for range maxInFlight / 16 {
		r, subject, err := n.take()
		if r == nil {
			break
		}
		if err == nil {
			err = n.publishRequest(subject, n.subject("r", n.id, strconv.FormatUint(n.number, 10)))
		}
		if err != nil && n.claim(n.number) != nil {
			n.finish(r, err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.pending) > 0 || len(n.queue) > 0 && n.inFlight < maxInFlight
}

// take moves the first request from the queue to out, under the number n.number. It encodes the
// request into n.buf, with as many of its messages as one NATS message holds, and returns the
// subject, or why the request cannot be sent. Messages at the front that are too large get their
// outcome at once. take returns nil if the queue is empty or maxInFlight is reached.
func (n *outgoing) take() (r *request, subject string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) == 0 || n.inFlight >= maxInFlight {
		return nil, "", nil
	}
	r = n.queue[0]
	n.queue[0] = nil
	n.queue = n.queue[1:]
	n.inFlight++
	n.number++
	n.out[n.number] = r
	r.counts, r.sent, r.absent = true, 0, nil
	r.heard, r.asked = n.now(), n.now()
	b := append(appendString(n.buf[:0], n.id), r.kind)
	b = binary.AppendUvarint(b, n.clock.at(time.Now().Add(n.timeout)))
	b = appendString(appendString(b, r.pool), r.id)
	for !n.away && len(r.batch) > 0 && len(b)+binary.MaxVarintLen32+len(r.batch[0]) > n.limit {
		r.errs, r.batch = append(r.errs, errTooLarge), r.batch[1:]
	}
	for r.sent < len(r.batch) && len(b)+binary.MaxVarintLen32+len(r.batch[r.sent]) <= n.limit {
		b = appendString(b, r.batch[r.sent])
		r.sent++
	}
	n.buf = b
	switch {
	case n.away:
		err = errAway
	case len(r.batch) == 0:
		err = errTooLarge
	case r.node != "":
		return r, n.subject("d", r.node), nil
	}
	return r, n.subjectOf(r.key), err
}

// publishRequest publishes n.buf. It returns an error only if the request certainly has not left
// this node. After any other error, the answer or the deadline decides the outcome.
func (n *outgoing) publishRequest(subject, reply string) error {
	err := n.nc.PublishRequest(subject, reply, n.buf)
	n.requests.Add(1)
	for _, certain := range []error{nats.ErrConnectionClosed, nats.ErrConnectionDraining, nats.ErrReconnectBufExceeded, nats.ErrMaxPayload} {
		if errors.Is(err, certain) {
			return fmt.Errorf("%w: %w", gcpool.ErrNotConnected, err)
		}
	}
	if err != nil {
		n.note(err)
	}
	return nil
}

// wake wakes the goroutine that waits on c. If none waits, the next to wait goes on at once.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// flush waits until NATS has the last answers, for at most WithTimeout.
func (n *outgoing) flush(ctx context.Context) {
	if n.nc.IsConnected() {
		ctx, cancel := context.WithTimeout(ctx, n.timeout)
		defer cancel()
		_ = n.nc.FlushWithContext(ctx)
	}
}

// answerLocked adds an answer to the pending message for its node, or begins another message if the
// answer does not fit.
func (n *outgoing) answerLocked(node string, number uint64, kind byte, codes []byte, name string) {
	size := 3*binary.MaxVarintLen64 + 1 + len(codes) + len(name) // at most
	i, ok := n.slots[node]
	if !ok || len(n.pending[i].data) > piece || len(n.pending[i].data)+size > n.limit {
		i = len(n.pending)
		n.slots[node] = i
		n.pending = append(n.pending, message{n.subject("r", node, "0"), appendString(nil, n.id)})
	}
	b := append(binary.AppendUvarint(n.pending[i].data, number), kind)
	n.pending[i].data = appendString(appendString(b, codes), name)
	n.memberLocked(node).answers++
	wake(n.sending)
}
