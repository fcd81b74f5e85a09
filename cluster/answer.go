package cluster

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
)

// The kinds of answer. Each has a number, a list of outcomes and a name.
const (
	inHand   byte = 'h' // the messages wait for their peer
	outcomes byte = 'o' // of the first messages; the others are to go to the node named
	found    byte = 'f' // the name of the node that has the id
	absent   byte = 'n' // the request is not here, and will not be taken any more; the node, if it has the id
)

// reasons are the outcomes that travel, each as its index. A node that was shut
// down is no concern of the one that pushes, whose own pool is not.
var reasons = []error{
	nil,
	gcpool.ErrNotConnected,
	gcpool.ErrSlow,
	gcpool.ErrDeleted,
	gcpool.ErrExpired,
	gcpool.ErrTooLarge,
	errThere,
	ErrUncertain,
}

// reason returns the number of an outcome.
func reason(err error) byte {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, gcpool.ErrClosed):
		return byte(slices.Index(reasons, errThere))
	}
	i := slices.IndexFunc(reasons, func(r error) bool { return r != nil && errors.Is(err, r) })
	if i < 0 {
		i = len(reasons) - 1
	}
	return byte(i)
}

// answerLocked has an answer sent together with others to the same node, once
// send is awake.
func (n *Node) answerLocked(node string, number uint64, kind byte, codes []byte, name string) {
	i, ok := n.slots[node]
	if !ok || len(n.posts[i].data) > piece {
		i = len(n.posts)
		n.slots[node] = i
		n.posts = append(n.posts, post{n.subject("r", node, "0"), appendString(nil, n.id)})
	}
	b := append(binary.AppendUvarint(n.posts[i].data, number), kind)
	n.posts[i].data = appendString(appendString(b, codes), name)
}

// answered settles what came to the node's answer subject: from NATS, that
// nobody listens for a request, or the answers of another node.
func (n *Node) answered(m *nats.Msg) {
	if m.Header.Get("Status") != "" {
		number, ok := n.numbered(m.Subject, n.id)
		if !ok || m.Header.Get("Status") != "503" {
			n.distrust(m)
		} else if r := n.claim(number); r != nil {
			n.nobody(r)
		}
		return
	}
	d := decoder{left: m.Data}
	node := d.string()
	if node == n.id && !d.more() {
		n.mu.Lock()
		n.echoed = time.Now()
		n.mu.Unlock()
	}
	for ok := plain(node) && d.more(); ok && d.more(); {
		if ok = n.answer(&d, node); !ok {
			d.bad = true
		}
	}
	if d.bad || !plain(node) {
		n.distrust(m)
	}
}

// nobody settles a request for which nobody listens. If that was a node that
// should, it has gone, but the id may have come back elsewhere.
func (n *Node) nobody(r *request) {
	if r.node == "" {
		n.finish(r, gcpool.ErrNotConnected)
		return
	}
	n.astray(r)
}

// answer settles one answer of a node, and reports whether it makes sense. One to a
// request that was given up does.
func (n *Node) answer(d *decoder, node string) bool {
	number, kind, codes, name := d.number(), d.byte(), d.bytes(), d.string()
	for _, c := range codes {
		d.bad = d.bad || int(c) >= len(reasons)
	}
	var lost error
	d.bad = d.bad || kind == outcomes && name != "" && !plain(name)
	n.mu.Lock()
	r := n.out[number]
	switch {
	case d.bad || r == nil:
	case kind == inHand:
		r.since = time.Now()
		r.due, r.heard = r.since.Add(n.timeout), r.since
		n.uncountLocked(r)
		defer wake(n.sending)
		r = nil
	case kind == absent:
		if lost = n.absentLocked(r, node, name != ""); lost == nil {
			r = nil
		}
	case kind == outcomes && len(codes) > r.sent, kind == found && r.kind != where, kind != outcomes && kind != found:
		d.bad = true
	}
	n.mu.Unlock()
	if d.bad || r == nil || n.claim(number) == nil {
		return !d.bad
	}
	if lost == gcpool.ErrMoved {
		n.astray(r)
		return true
	} else if lost != nil {
		n.finish(r, lost)
		return true
	}
	if kind == found {
		r.name = n.nameOf(node, name)
		n.finish(r, nil)
		return true
	}
	for _, c := range codes {
		r.errs = append(r.errs, reasons[c])
	}
	n.settled(r, len(codes), node, name)
	return true
}

// settled goes on with r, of which so many messages have their outcome at a node.
// The others, if they were sent, are to go to the node named.
func (n *Node) settled(r *request, outcomes int, node, name string) {
	all := r.kind == push && outcomes == r.sent
	r.batch = r.batch[outcomes:]
	if outcomes > 0 {
		r.since = time.Now()
	}
	switch {
	case all:
		n.mu.Lock()
		n.homes[0][r.key] = home{node: node}
		n.mu.Unlock()
		if len(r.batch) == 0 {
			n.finish(r, nil)
			return
		}
		r.node = node // NATS did not take all at once
	case name == "" || name == n.id || name == r.node || time.Since(r.since) > n.timeout:
		n.astray(r)
		return
	default:
		r.node = name
	}
	n.again(r)
	wake(n.sending)
}

// astray settles r, whose id is not where r was sent. It is looked for once more,
// unless nodes have said for too long that it is with others.
func (n *Node) astray(r *request) {
	err := gcpool.ErrMoved
	n.mu.Lock()
	if p, ok := n.moved[r.key]; ok && p.node == r.node {
		p.node = ""
		n.moved[r.key] = p
	}
	for _, homes := range n.homes {
		delete(homes, r.key)
	}
	if time.Since(r.since) > n.timeout {
		err = errAstray
	} else if r.kind == push {
		n.homes[0][r.key] = home{since: r.since}
	}
	n.mu.Unlock()
	n.finish(r, err)
}
