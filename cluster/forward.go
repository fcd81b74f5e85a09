package cluster

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// The kinds of request.
const (
	push  byte = 'm' // messages for an id
	where byte = 'w' // the question which node has it
	probe byte = 'q' // the question which requests a node has in hand
)

// A request is a batch of messages on its way to the node that has their id, or
// the question where it is.
type request struct {
	key
	kind  byte
	node  string   // that has the id, as another said; "" looks for it
	batch [][]byte // without an outcome
	errs  []error  // the outcomes of those before
	done  func(errs []error)
	name  string // the answer to a question

	sent   int       // how much of batch is out
	counts bool      // in the window
	since  time.Time // when its node was last heard of, or the search began
	due    time.Time
	heard  time.Time // when it left, or its node last said that it had it
	asked  time.Time // when it was asked for last
	absent []string  // nodes that do not have it
}

// A home is the node that answered for an id, or since when that is looked for.
type home struct {
	node  string
	since time.Time
}

// A post is a message to NATS that nobody waits for.
type post struct {
	subject string
	data    []byte
}

// A seam is a Node as its pool sees it.
type seam struct{ *Node }

// Forward implements [gcpool.Cluster]. It may block while NATS does not read.
func (n seam) Forward(pool, id string, batch [][]byte, done func(errs []error)) {
	n.enqueue(&request{key: key{pool, id}, kind: push, batch: batch, done: done})
	n.sendNow()
}

// Broadcast implements [gcpool.Cluster]. It does not block.
func (n seam) Broadcast(pool string, data []byte) error {
	b := appendString(make([]byte, 0, len(n.id)+len(pool)+len(data)+4), n.id)
	b = append(appendString(b, pool), data...)
	defer wake(n.sending) // once mu is unlocked
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.away || n.ended:
		return errAway
	case len(b) > n.limit:
		return errTooLarge
	case n.casting+len(b) > castBytes:
		return errOverflow
	}
	n.posts = append(n.posts, post{n.subject("b"), b})
	n.casting += len(b)
	return nil
}

// enqueue has a new request sent soon.
func (n *Node) enqueue(r *request) {
	n.mu.Lock()
	n.open++
	h := cmp.Or(n.homes[0][r.key], n.homes[1][r.key])
	r.node = cmp.Or(n.moved[r.key].node, h.node)
	r.since = cmp.Or(r.since, h.since, time.Now())
	n.mu.Unlock()
	n.again(r)
}

// again has what is left of a request sent, once send is awake.
func (n *Node) again(r *request) {
	n.mu.Lock()
	ended := n.ended
	if !ended {
		r.due = time.Now().Add(n.timeout)
		n.queue = append(n.queue, r)
	}
	n.mu.Unlock()
	if ended {
		n.finish(r, errAway)
	}
}

// send is the goroutine that publishes for those who must not wait, since nc
// blocks for as long as NATS does not read.
func (n *Node) send() {
	for {
		select {
		case <-n.sending:
		case <-n.stop:
			return
		}
		for more := true; more; {
			n.publishing.Lock()
			more = n.round()
			n.publishing.Unlock()
		}
	}
}

// sendNow has the caller publish, which saves the way to another goroutine; but
// while one publishes, what is for the next round gathers.
func (n *Node) sendNow() {
	more := true
	if n.publishing.TryLock() {
		more = n.round()
		n.publishing.Unlock()
	}
	if more {
		wake(n.sending)
	}
}

// round publishes what has gathered, and reports whether more has since.
func (n *Node) round() (more bool) {
	limit, away := int(n.nc.MaxPayload()), !n.nc.IsConnected()
	n.mu.Lock()
	n.limit, n.away = limit, away
	posts := n.posts
	n.posts, n.casting = nil, 0
	clear(n.slots)
	n.mu.Unlock()
	for _, p := range posts {
		n.publish(p.subject, p.data)
	}
	for range maxInFlight / 16 {
		number, r := n.take()
		if r == nil {
			break
		}
		n.request(number, r)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.posts) > 0 || len(n.queue) > 0 && n.inFlight < maxInFlight
}

// publish sends one message, and notes if it could not.
func (n *Node) publish(subject string, b []byte) {
	if err := n.nc.Publish(subject, b); err != nil {
		n.note(err)
	}
}

// take returns the first request of the queue, which is out then, its encoding
// in n.buf: as many messages as NATS takes at once. It returns nil if there is
// none, or too many are out.
func (n *Node) take() (number uint64, r *request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) == 0 || n.inFlight >= maxInFlight {
		return 0, nil
	}
	r = n.queue[0]
	n.queue[0] = nil
	n.queue = n.queue[1:]
	n.inFlight++
	n.number++
	n.out[n.number] = r
	r.counts, r.heard, r.sent = true, time.Now(), 0
	r.due, r.asked, r.absent = r.heard.Add(n.timeout), r.heard, nil
	b := append(appendString(n.buf[:0], n.id), r.kind)
	b = binary.AppendUvarint(b, n.clock.at(r.due))
	b = appendString(appendString(b, r.pool), r.id)
	for r.sent < len(r.batch) && len(b)+binary.MaxVarintLen32+len(r.batch[r.sent]) <= n.limit {
		b = appendString(b, r.batch[r.sent])
		r.sent++
	}
	n.buf = b
	return n.number, r
}

// request publishes n.buf, which is what take has made of r.
func (n *Node) request(number uint64, r *request) {
	n.mu.Lock()
	err, to := error(nil), r.node
	switch {
	case n.out[number] != r: // given up, and not ours any more
		n.mu.Unlock()
		return
	case n.away:
		err = errAway
	case len(n.buf) > n.limit || r.sent < min(1, len(r.batch)):
		err = errTooLarge
	}
	n.mu.Unlock()
	if err == nil {
		subject := n.subject("d", to)
		if to == "" {
			subject = n.subject("m", token(r.pool), token(r.id))
		}
		err = n.publishRequest(subject, n.subject("r", n.id, strconv.FormatUint(number, 10)))
	}
	if err != nil && n.claim(number) != nil {
		n.fail(r, err)
	}
}

// publishRequest publishes n.buf. Its error says that nothing has left; of any
// other the answer, or the deadline, decides.
func (n *Node) publishRequest(subject, reply string) error {
	n.requests.Add(1)
	err := n.nc.PublishRequest(subject, reply, n.buf)
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

// claim takes the request that is out under a number, for the caller to settle;
// nil if another did.
func (n *Node) claim(number uint64) *request {
	n.mu.Lock()
	r := n.out[number]
	if r != nil {
		n.uncountLocked(r)
		delete(n.out, number)
	}
	waiting := len(n.queue) > 0
	n.mu.Unlock()
	if waiting {
		wake(n.sending)
	}
	return r
}

// uncountLocked makes room for another request; send is to be woken.
func (n *Node) uncountLocked(r *request) {
	if r.counts {
		r.counts = false
		n.inFlight--
	}
}

// fail settles a request that did not go out. What is behind a message that is
// too large may go.
func (n *Node) fail(r *request, err error) {
	if err == errTooLarge && len(r.batch) > 1 {
		r.errs, r.batch = append(r.errs, err), r.batch[1:]
		n.again(r)
		return
	}
	n.finish(r, err)
}

// finish settles a request, err being the outcome of what is left of it. If that
// has to look for its node once more, it is not in a hurry.
func (n *Node) finish(r *request, err error) {
	left := len(r.batch)
	if r.kind == where {
		left = 1
	}
	for range left {
		r.errs = append(r.errs, err)
	}
	settle := func() {
		r.done(r.errs)
		n.mu.Lock()
		n.open--
		n.mu.Unlock()
	}
	if errors.Is(err, gcpool.ErrMoved) {
		time.AfterFunc(pause, settle)
	} else {
		settle()
	}
}

// sweep gives up what is overdue: it was lost on the way, or never left. At the
// end, all is. What has been out for a while makes room, so that a node that is
// stuck keeps nobody from the others.
func (n *Node) sweep(end bool) {
	n.resume()
	now := time.Now()
	var lost, unsent []*request
	silent := map[uint64]*request{}
	n.mu.Lock()
	for number, r := range n.out {
		switch {
		case end || now.After(r.due):
			n.uncountLocked(r)
			delete(n.out, number)
			lost = append(lost, r)
		case now.Sub(r.heard) > 2*tick:
			n.uncountLocked(r)
			silent[number] = r
		}
	}
	if now.Sub(n.turned) > linger {
		n.homes = [2]map[key]home{{}, n.homes[0]}
		n.turned = now
	}
	late := 0
	for late < len(n.queue) && (end || now.After(n.queue[late].due)) {
		late++
	}
	unsent, n.queue = n.queue[:late:late], n.queue[late:]
	n.mu.Unlock()
	for _, r := range lost {
		n.finish(r, ErrUncertain)
	}
	for _, r := range unsent {
		n.finish(r, errAway)
		n.unsent.Store(true)
	}
	n.inquire(silent, now)
	wake(n.sending) // which looks whether NATS is there
}

// wake has the goroutine that waits at c look once more.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
