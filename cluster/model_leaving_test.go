package cluster

import "time"

// A modelLeaving is how far a node's departure has come: the Shutdown of its pool, then Leave.
type modelLeaving byte

const (
	serving  modelLeaving = iota
	closing               // its pool is shut down, and its connections end one by one
	holding               // it waits until its users are elsewhere, or until holdTime has passed
	waiting               // it has no ids, and waits for what is still in progress
	departed              // it has said farewell, or has given up
)

// modelLeave is how long Leave may take.
const modelLeave = 6 * time.Second

// A modelHeld is an id whose connection has ended with the Shutdown of its pool.
type modelHeld struct {
	held      bool
	until     time.Duration
	elsewhere bool // another node has announced it
}

// leaves shuts a node down. Each of its users connects to another node within holdTime of the
// end of the old connection.
func (m *model) leaves(node int) {
	n := m.nodes[node]
	if n.stopped {
		m.after(100*time.Millisecond, func() { m.leaves(node) })
		return
	}
	n.leaving, n.begun = closing, m.now
	for id := range n.mail { // Shutdown ends the mailbox
		n.refuse(n.mail[id].batch)
		n.mail[id].batch = nil
	}
	for id, e := range n.entries {
		if e.conn == 0 {
			continue
		}
		ends := time.Duration(m.r.Int64N(int64(300 * time.Millisecond)))
		away := 20*time.Millisecond + time.Duration(m.r.Int64N(int64(700*time.Millisecond)))
		m.after(ends, func() { n.ended(id, e.conn) })
		m.after(ends+away, func() {
			if m.newest[id] == e.conn { // otherwise the user has already moved
				m.nodes[(node+1+m.r.IntN(modelNodes-1))%modelNodes].connect(id)
			}
		})
	}
}

// ended ends a connection, as the Shutdown of its pool does.
func (n *modelNode) ended(id, conn int) {
	switch {
	case n.entries[id].conn != conn || n.leaving == departed:
	case n.stopped:
		n.backlog = append(n.backlog, func() { n.ended(id, conn) })
	case n.hasty:
		n.leave(id)
	default:
		n.entries[id] = modelEntry{}
		n.held[id] = modelHeld{held: true, until: n.now + holdTime}
	}
}

// forget stops holding ids that are elsewhere by now, or did not come in time.
func (n *modelNode) forget() {
	for id := range n.held {
		if h := &n.held[id]; h.held && (h.elsewhere || n.now >= h.until) {
			*h = modelHeld{}
			n.subscribe(id, false)
		}
	}
}

// depart is the part of a tick that makes a leaving node leave.
func (n *modelNode) depart() {
	n.forget()
	switch connected, held := n.count(); {
	case n.leaving == serving || n.leaving == departed:
	case n.now-n.begun > modelLeave:
		for id := range n.entries {
			n.leave(id)
		}
		for len(n.out) > 0 {
			n.finish(n.out[0].number, uncertain)
		}
		n.leaving = departed
	case n.leaving == closing && connected == 0:
		n.leaving = holding
	case n.leaving == holding && held == 0:
		n.leaving = waiting
		n.toServer(func(server int) { n.toNode(server, n.n, func() { n.withdrawn = true }) })
	case n.leaving == waiting && n.withdrawn && len(n.out) == 0 && n.busy == [modelIDs]bool{}:
		n.leaving = departed
		if !n.silent {
			for i, answers := range n.answers {
				if i != n.n {
					n.sendTo(i, func() { n.nodes[i].departed(n.n, answers) })
				}
			}
		}
	}
}

// count returns how many ids are connected, and how many are held.
func (n *modelNode) count() (connected, held int) {
	for id, e := range n.entries {
		if e.conn > 0 {
			connected++
		}
		if n.held[id].held {
			held++
		}
	}
	return connected, held
}

// answer sends an answer, which both nodes count.
func (n *modelNode) answer(to int, do func(o *modelNode)) {
	n.answers[to]++
	n.sendTo(to, func() {
		n.nodes[to].heard[n.n]++
		do(n.nodes[to])
	})
}

// departed handles a farewell.
func (n *modelNode) departed(from, answers int) {
	if n.amnesiac {
		n.windows[from] = window{}
	}
	if n.heard[from] == answers || n.credulous {
		n.gone[from] = true
	}
	for _, r := range n.out {
		r.asked = -time.Hour // ask at once
	}
}

// refuse records messages that were reported as not delivered.
func (n *modelNode) refuse(batch []int) {
	for _, seq := range batch {
		if n.written[n.n][seq] {
			n.fail("message %d of node %d was written before its outcome", seq, n.n)
		}
		n.refused[n.n][seq] = true
	}
}
