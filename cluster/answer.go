package cluster

import (
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// The kinds of answer. Each has a number, a list of outcomes and a name.
const (
	outcomes = 'o' // of the first messages; the rest belong to the node named

	// Answers to a probe.
	inProgress = 'h' // the messages wait for their peer
	taken      = 't' // the request was answered, so the answer was lost
	absent     = 'n' // the request never came, and is refused from now on; names a node with the id

	farewell = 'l' // follows the last answer; its number is how many answers there were
)

// reasons are the outcomes that nodes send each other, each as its index. ErrClosed is not among
// them: messages that a pool has not written when it is shut down go back to the node that sent
// them; see delivery.note.
var reasons = []error{
	nil,
	gcpool.ErrNotConnected,
	gcpool.ErrSlow,
	gcpool.ErrDeleted,
	gcpool.ErrExpired,
	gcpool.ErrTooLarge,
	ErrUncertain,
}

// reason returns the index of an outcome in reasons. Only nil matches nil there, and any error that
// is not in reasons counts as ErrUncertain.
func reason(err error) byte {
	i := slices.IndexFunc(reasons, func(r error) bool { return errors.Is(err, r) })
	if i < 0 {
		i = len(reasons) - 1
	}
	return byte(i)
}

// answered handles a message to this node's subject for answers: a status from NATS, or answers
// from a node.
func (n *incoming) answered(m *nats.Msg) {
	if m.Header.Get("Status") != "" {
		number, ok := n.numbered(m.Subject, n.id)
		if !ok || m.Header.Get("Status") != "503" {
			n.reject(m)
		} else if r := n.claim(number); r != nil && r.node == "" {
			n.finish(r, gcpool.ErrNotConnected)
		} else if r != nil { // r.node has gone, but another node may have the id
			n.finish(r, gcpool.ErrMoved)
		}
		return
	}
	d := decoder{left: m.Data}
	node := d.string()
	d.bad = d.bad || !plain(node)
	for d.more() {
		n.answer(&d, node)
	}
	if d.bad {
		n.reject(m)
	}
}

// answer handles one answer. An answer to a request that was given up is not malformed.
func (n *incoming) answer(d *decoder, node string) {
	number, kind, codes, name := d.number(), d.number(), d.bytes(), d.string()
	unknown := func(code byte) bool { return int(code) >= len(reasons) }
	if d.bad = d.bad || slices.ContainsFunc(codes, unknown); d.bad {
		return
	}
	if kind == farewell {
		n.departed(node, number)
		return
	}
	n.mu.Lock()
	n.memberLocked(node).answered++
	r, err := n.out[number], errOpen
	switch {
	case r == nil:
	case kind == outcomes && (len(codes) == r.sent || len(codes) < r.sent && (name == "" || plain(name))):
		err = n.settledLocked(r, codes, node, name)
	case kind == inProgress:
		r.since, r.heard = n.now(), n.now()
		n.uncountLocked(r)
	case kind == taken && r.kind == where:
		err = gcpool.ErrMoved // ask again
	case kind == taken:
		err = ErrUncertain
	case kind == absent:
		err = n.absentLocked(r, node, name != "")
	default:
		d.bad = true
	}
	if err == errOpen {
		n.mu.Unlock()
		return
	}
	n.claimLocked(number)
	n.mu.Unlock()
	n.finish(r, err)
}

// settledLocked notes the outcomes of the first messages of r, and sets the node to which the rest
// go: the node named, or the same node again if the rest have not been sent yet.
func (n *incoming) settledLocked(r *request, codes []byte, node, name string) error {
	for _, c := range codes {
		r.errs = append(r.errs, reasons[c])
	}
	r.batch = r.batch[len(codes):]
	if len(codes) > 0 {
		r.since = n.now()
	}
	switch {
	case len(codes) == r.sent:
		r.node, r.name = node, name
		n.hints[0][r.key] = node
	case name == "" || name == n.id || name == r.node || n.now().Sub(r.since) > n.timeout:
		return gcpool.ErrMoved
	default:
		r.node = name
	}
	return nil
}

// departed handles the farewell of a node. If all answers of that node have come, it never took the
// requests that have no answer, and this node sends them again. If an answer is missing, the node
// may have taken these requests, as a node that has died may have.
func (n *incoming) departed(node string, answers uint64) {
	n.mu.Lock()
	m := n.memberLocked(node)
	all := m.answered == answers
	m.gone, m.over = true, all
	ended := map[*request]error{}
	for number, r := range n.out {
		switch {
		case r.node != node:
			r.asked = time.Time{} // ask at once: the outcome may be known now
		case all || r.kind == where:
			ended[n.claimLocked(number)] = gcpool.ErrMoved
		default:
			ended[n.claimLocked(number)] = ErrUncertain
		}
	}
	n.mu.Unlock()
	for r, err := range ended {
		n.finish(r, err)
	}
}
