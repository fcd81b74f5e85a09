package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// A reception is a batch of messages of another node, on its way to an id that
// is connected here.
type reception struct {
	key
	node    string // whose they are
	number  uint64 // of its request
	stream  *gcpool.StreamPool
	batch   [][]byte // not yet taken
	codes   []byte   // the outcomes of those before
	waiting bool     // for more than a tick; node.mu
}

// An origin says which request of which node a reception is.
type origin struct {
	node   string
	number uint64
}

// receive is the goroutine that takes what came for the ids here, and answers. It
// looks after what is out and in hand, for unlike the others it never waits for
// NATS.
func (n *Node) receive() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case m := <-n.in:
			if m.Sub == n.ours {
				n.answered(m)
			} else {
				n.received(m)
			}
		case <-ticker.C:
			n.sweep(false)
			n.listen()
			n.keepAlive()
		case <-n.idle:
		case <-n.stop:
			return
		}
	}
}

// resume puts off all deadlines by as long as this process was stopped, or had no
// processor: what came meanwhile is yet to be read. It is called each tick, and
// counts one of them, so that no deadline is put off for ever.
func (n *Node) resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	gap := now.Sub(cmp.Or(n.looked, now)) - tick
	n.looked = now
	if gap < 2*tick {
		return
	}
	putOff := func(r *request) { r.due, r.since, r.heard = r.due.Add(gap), r.since.Add(gap), r.heard.Add(gap) }
	for _, r := range n.out {
		putOff(r)
	}
	for _, r := range n.queue {
		putOff(r)
	}
	for _, m := range n.members {
		m.heard = m.heard.Add(gap)
	}
	n.echoed = n.echoed.Add(gap)
}

// listen connects to NATS again if nothing has come from there for too long: a server
// whose machine has vanished does not say so, and nats.go takes minutes to notice, or
// is held up in a write. So must not be whoever looks here.
func (n *Node) listen() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.in) > 0 || time.Since(n.echoed) < deaf {
		return
	}
	n.echoed = time.Now() // for the next try
	resumes := n.resumes
	n.running.Go(func() {
		if n.nc.IsConnected() && n.nc.Stats().Reconnects == resumes {
			n.note(errDeaf)
			_ = n.nc.ForceReconnect()
		}
	})
}

// distrust drops a message that makes no sense, and says so.
func (n *Node) distrust(m *nats.Msg) {
	n.malformed.Add(1)
	n.note(fmt.Errorf("gcpool/cluster: malformed message of %d bytes on %q", len(m.Data), m.Subject))
}

// received takes one request.
func (n *Node) received(m *nats.Msg) {
	d := decoder{left: m.Data}
	r := &reception{node: d.string()}
	kind := d.byte()
	if kind == probe && plain(r.node) {
		n.probed(r.node, &d, m)
		return
	}
	expires := d.number()
	r.key = key{d.string(), d.string()}
	for d.more() {
		r.batch = append(r.batch, d.bytes())
	}
	number, ok := n.numbered(m.Reply, r.node)
	if d.bad || !ok || r.id == "" || !plain(r.node) || kind != push && kind != where || (kind == where) != (len(r.batch) == 0) {
		n.distrust(m)
		return
	}
	n.taken.Add(1)
	r.number = number
	if !n.accept(r, expires) {
		return
	}
	if kind == where {
		n.locate(r)
		return
	}
	r.stream = n.pool.GetStream(r.pool) // or nil, and Receive says so
	n.mu.Lock()
	n.working[origin{r.node, number}] = r
	n.mu.Unlock()
	if n.goOn(r) {
		wake(n.sending)
	}
}

// accept reports whether a request may be taken. One that comes out of turn, or so late
// that its node has given it up, is refused: that node looks for the id once more if it
// still waits. One that came twice has its answer already.
func (n *Node) accept(r *reception, expires uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.windowLocked(r.node)
	late := n.clock.at(time.Now()) > expires
	if late {
		w.refuse(r.number)
	} else if w.take(r.number) {
		return true
	}
	if w.never(r.number) {
		n.answerLocked(r.node, r.number, outcomes, nil, "")
		wake(n.sending)
	}
	return false
}

// windowLocked returns what is known of the requests of a node.
func (n *Node) windowLocked(node string) *window {
	w := n.windows[node]
	if w == nil {
		w = new(window)
		n.windows[node] = w
	}
	w.used = time.Now()
	return w
}

// probed answers a node that has heard nothing of some requests: which of them are in
// hand here, and which were never taken, and will not be from now on; and whether their
// id is here.
func (n *Node) probed(node string, d *decoder, m *nats.Msg) {
	for d.more() {
		number, k, here := d.number(), key{d.string(), d.string()}, ""
		if d.bad {
			n.distrust(m)
			break
		}
		if !n.added(k).IsZero() {
			here = n.id
		}
		n.mu.Lock()
		w := n.windowLocked(node)
		w.refuse(number)
		switch {
		case n.working[origin{node, number}] != nil:
			n.answerLocked(node, number, inHand, nil, "")
		case w.never(number):
			n.answerLocked(node, number, absent, nil, here)
		}
		n.mu.Unlock()
	}
	wake(n.sending)
}

// locate answers the question where an id is.
func (n *Node) locate(r *reception) {
	here := !n.added(r.key).IsZero()
	defer wake(n.sending)
	n.mu.Lock()
	defer n.mu.Unlock()
	if here {
		n.answerLocked(r.node, r.number, found, nil, n.name)
	} else {
		n.answerLocked(r.node, r.number, outcomes, nil, n.moved[r.key].node)
	}
}

// goOn has what is left of r written, as far as there is room, and is called
// again when that has its outcome, or there may be room. It reports whether r has
// its answer.
func (n *Node) goOn(r *reception) bool {
	for len(r.batch) > 0 {
		taken, err := r.stream.Receive(r.id, r.batch, func(errs []error) {
			if n.written(r, errs) {
				n.sendNow()
			}
		})
		if taken > 0 {
			return false // written may have r already
		}
		select {
		case <-n.stop:
			return false // too late for an answer
		default:
		}
		switch {
		case errors.Is(err, context.Canceled):
			time.AfterFunc(pause, func() {
				if n.goOn(r) {
					n.sendNow()
				}
			})
			return false
		case errors.Is(err, gcpool.ErrMoved):
			return n.end(r)
		}
		r.codes = append(r.codes, reason(err))
		r.batch = r.batch[1:]
	}
	return n.end(r)
}

// written notes the outcomes of the first messages of r. One that its id has
// left behind, and all behind it, go where the id is.
func (n *Node) written(r *reception, errs []error) bool {
	for _, err := range errs {
		if errors.Is(err, gcpool.ErrMoved) {
			return n.end(r)
		}
		r.codes = append(r.codes, reason(err))
		r.batch = r.batch[1:]
	}
	return n.goOn(r)
}

// end answers r: some of it may be left.
func (n *Node) end(r *reception) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.working, origin{r.node, r.number})
	n.answerLocked(r.node, r.number, outcomes, r.codes, n.moved[r.key].node)
	return true
}

// keepAlive tells the origins of what has been here for a tick that it is in hand.
func (n *Node) keepAlive() {
	defer wake(n.sending)
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.posts) > stuck {
		return
	}
	for _, r := range n.working {
		if r.waiting {
			n.answerLocked(r.node, r.number, inHand, nil, "")
		}
		r.waiting = true
	}
}
