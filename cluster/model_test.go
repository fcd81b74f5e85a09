package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// The model is PROTOCOL.md as a simulation, with a clock of its own: three nodes, two NATS
// servers, and a route between the servers. It uses the node's real clock and window. Each rule
// can be switched off, to see that the model finds the faults that the rule prevents.

// rules are switches, each of which breaks one rule of the nodes in a model.
type rules struct {
	wallClock bool // versions come from the wall clock, and are refused if an hour ahead
	late      bool // requests are taken however late they arrive
	mute      bool // no node asks what became of a request
	forgetful bool // messages in a mailbox wait until their id is announced
	trusting  bool // a node believes that it has everything up to the last announced number
	hasty     bool // a node that leaves does not hold its ids
	silent    bool // a node that leaves says no farewell
	credulous bool // a farewell counts even if an answer is missing
	amnesiac  bool // a farewell makes a node forget which requests were taken
	naive     bool // requests are taken from nodes that do not know this one
}

const (
	modelTimeout = 3 * time.Second
	modelNodes   = 3
	noMailbox    = 1 // the node whose pool has no mailbox
	modelIDs     = 2
)

type modelEvent struct {
	at    time.Duration
	order int
	do    func()
}

func (e *modelEvent) before(o *modelEvent) bool {
	return e.at < o.at || e.at == o.at && e.order < o.order
}

// A modelQueue is a heap. container/heap would allocate for each event.
type modelQueue []modelEvent

func (q *modelQueue) push(e modelEvent) {
	*q = append(*q, e)
	h := *q
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (q *modelQueue) pop() modelEvent {
	h := *q
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], modelEvent{}
	*q = h[:last]
	h = *q
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].before(&h[least]) {
				least = child
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// The links: from each node up to its server, down to it, and from each server to the other.
const (
	up    = 0
	down  = up + modelNodes
	route = down + modelNodes
	links = route + 2
)

// A model is one history.
type model struct {
	rules
	r       *rand.Rand
	now     time.Duration
	events  modelQueue
	order   int
	nodes   [modelNodes]*modelNode
	servers [2][modelIDs][modelNodes]bool // who is subscribed, as far as each server knows
	free    [links]time.Duration          // when each link can deliver next, because links keep order
	cut     bool                          // the route is cut
	lose    float64                       // the share of messages that the route loses
	double  float64
	mixed   bool    // links do not keep order
	hung    float64 // the share of late messages, sent before a node changed its server
	delay   time.Duration
	strict  bool // users are never away for long, so each message must be written

	newest  [modelIDs]int            // the last connection of an id
	came    [modelIDs]time.Duration  // when that connection came
	written [modelNodes]map[int]bool // messages by origin
	refused [modelNodes]map[int]bool // certainly not delivered, by their outcome
	last    map[modelConnection]int  // the last message of each origin on each connection
	longest time.Duration            // the longest wait for an outcome
	wrong   []string
}

// A modelConnection is a connection, with a node that pushes to it.
type modelConnection struct{ id, conn, from int }

type modelEntry struct {
	version uint64
	conn    int // 0 for none
}

type modelRequest struct {
	number uint64
	id     int
	batch  []int
	begun  time.Duration
	heard  time.Duration
	asked  time.Duration
	absent [modelNodes]bool
}

// A modelMailbox has the messages that wait at a node for an id that no node had.
type modelMailbox struct {
	batch []int
	due   time.Duration // when the id is looked for again
	pause time.Duration
}

type modelNode struct {
	*model
	n       int
	wall    time.Duration // how wrong its wall clock is
	clock   clock
	last    uint64 // the last version, for wallClock
	entries [modelIDs]modelEntry
	said    []modelAnnounce // number n is at n-1
	whole   [modelNodes]int // up to which number each node's announcements have arrived
	windows [modelNodes]window
	out     []*modelRequest // at most one for each id
	number  uint64
	seq     int
	busy    [modelIDs]bool
	mail    [modelIDs]modelMailbox
	stopped bool
	backlog []func()

	joins time.Duration    // when it joins; 0 is the start
	known [modelNodes]bool // nodes that it has heard
	knows [modelNodes]bool // nodes that have said that they know it

	leaving   modelLeaving
	begun     time.Duration // when it began to leave
	held      [modelIDs]modelHeld
	withdrawn bool             // it takes no more requests
	answers   [modelNodes]int  // answers sent to each node
	heard     [modelNodes]int  // answers received from each node
	gone      [modelNodes]bool // nodes that have said farewell, and certainly have no requests
}

type modelAnnounce struct {
	id      int
	version uint64
}

var modelStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newModel(rules rules, seed uint64) *model {
	m := &model{rules: rules, r: rand.New(rand.NewPCG(seed, 1)), last: map[modelConnection]int{}, delay: time.Millisecond}
	for i := range m.nodes {
		n := &modelNode{model: m, n: i, clock: clock{start: modelStart}}
		m.nodes[i], m.written[i], m.refused[i] = n, map[int]bool{}, map[int]bool{}
		m.after(time.Duration(i)*30*time.Millisecond, n.tick)
		m.after(time.Duration(i)*40*time.Millisecond, n.heartbeat)
	}
	return m
}

func (m *model) after(d time.Duration, do func()) {
	m.order++
	m.events.push(modelEvent{m.now + d, m.order, do})
}

func (m *model) run(until time.Duration) {
	for len(m.events) > 0 && m.events[0].at <= until {
		e := m.events.pop()
		m.now = e.at
		e.do()
	}
	m.now = until
}

func (m *model) fail(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf("%v: ", m.now)+fmt.Sprintf(format, args...))
}

// over sends something over a link, which normally keeps its order.
func (m *model) over(link int, do func()) {
	if m.hung > 0 && m.r.Float64() < m.hung {
		m.after(time.Duration(m.r.Int64N(int64(modelTimeout))), do)
		return
	}
	m.inOrder(link, !m.mixed, do)
}

func (m *model) inOrder(link int, inOrder bool, do func()) {
	at := m.now + m.delay + time.Duration(m.r.Uint32N(uint32(m.delay)))
	if !inOrder {
		at += time.Duration(m.r.Int64N(int64(200 * time.Millisecond)))
	} else {
		at = max(at, m.free[link])
		m.free[link] = at
	}
	m.after(at-m.now, do)
}

// route sends something from one server to the other.
func (m *model) route(from int, inOrder bool, do func()) {
	if m.cut || m.lose > 0 && m.r.Float64() < m.lose {
		return
	}
	m.inOrder(route+from, inOrder, func() {
		if !m.cut {
			do()
		}
	})
}

// toServer calls do at a node's server. toNode calls do at a node, coming from a server.
func (n *modelNode) toServer(do func(server int)) { n.over(up+n.n, func() { do(n.n % 2) }) }

func (m *model) toNode(server, node int, do func()) {
	if server != node%2 {
		m.route(server, !m.mixed, func() { m.down(node, do) })
	} else {
		m.down(node, do)
	}
}

func (m *model) down(node int, do func()) {
	n := m.nodes[node]
	m.over(down+node, func() {
		switch {
		case n.leaving == departed || n.now < n.joins:
		case n.stopped:
			n.backlog = append(n.backlog, do)
		default:
			do()
		}
	})
}

// sendTo sends something to the subject of a single node.
func (n *modelNode) sendTo(node int, do func()) {
	n.toServer(func(server int) { n.toNode(server, node, do) })
}

func (n *modelNode) others(do func(other *modelNode)) {
	n.toServer(func(server int) {
		for i, other := range n.nodes {
			if i != n.n {
				n.toNode(server, i, func() { do(other) })
			}
		}
	})
}

// subscribe tells the servers that an id has connected or gone. NATS keeps such messages in order.
func (n *modelNode) subscribe(id int, here bool) {
	server := n.n % 2
	n.inOrder(up+n.n, true, func() {
		n.servers[server][id][n.n] = here
		n.route(server, true, func() { n.servers[1-server][id][n.n] = here })
	})
}

// mend ends all faults of the network: the servers tell each other what they know.
func (m *model) mend() {
	m.cut, m.lose, m.double, m.mixed, m.hung = false, 0, 0, false, 0
	for id := range modelIDs {
		for node := range modelNodes {
			m.servers[1-node%2][id][node] = m.servers[node%2][id][node]
		}
	}
}

// time is the reading of a node's monotonic clock, wallTime of its wall clock.
func (n *modelNode) time() time.Time { return modelStart.Add(n.now) }
func (n *modelNode) wallTime() uint64 {
	return uint64(modelStart.Add(n.now + n.wall).UnixMicro())
}

func (n *modelNode) version() uint64 {
	if n.wallClock {
		n.last = max(n.last+1, n.wallTime())
		return n.last
	}
	return n.clock.at(n.time())
}

func (n *modelNode) hear(t uint64) bool {
	if n.wallClock {
		ok := t <= n.wallTime()+uint64(time.Hour.Microseconds())
		if ok {
			n.last = max(n.last, t)
		}
		return ok
	}
	return n.clock.hear(t, n.time())
}

func (n *modelNode) toOne() uint64 {
	if n.wallClock {
		return n.last
	}
	return n.clock.at(n.time())
}

// connect gives an id a new connection, at another node if this one shuts down. Nodes agree on
// the time only to within the delay of a message, so connections that come closer together are
// put off: no node could tell which is newer.
func (n *modelNode) connect(id int) {
	if n.newest[id] > 0 && n.now-n.came[id] < 10*n.delay {
		n.after(10*n.delay, func() { n.connect(id) })
		return
	}
	if n.leaving != serving || n.now < n.joins {
		n.nodes[(n.n+1)%modelNodes].connect(id)
		return
	}
	n.newest[id]++
	n.came[id] = n.now
	if n.entries[id].conn == 0 {
		n.subscribe(id, true)
	}
	version := n.version()
	n.entries[id] = modelEntry{version, n.newest[id]}
	a := modelAnnounce{id, version}
	n.said = append(n.said, a)
	number := len(n.said)
	n.others(func(o *modelNode) { o.joined(n.n, number-1, number, a) })
	n.sendMail(id)
}

func (n *modelNode) leave(id int) {
	if n.entries[id].conn > 0 {
		n.entries[id] = modelEntry{}
		n.subscribe(id, false)
	}
}

// joined handles an announcement, which is the only valid one among
// those after number after, up to upTo.
func (n *modelNode) joined(from, after, upTo int, a modelAnnounce) {
	if !n.hear(a.version) {
		return
	}
	n.heardUpTo(from, after, upTo)
	e := n.entries[a.id]
	n.held[a.id].elsewhere = n.held[a.id].held
	switch {
	case e.conn > 0 && (e.version > a.version || e.version == a.version && n.n > from):
		n.tell(from, a.id)
	case e.conn > 0:
		n.leave(a.id)
	default:
		n.sendMail(a.id)
	}
}

func (n *modelNode) tell(to int, id int) {
	a := modelAnnounce{id, n.entries[id].version}
	n.sendTo(to, func() { n.nodes[to].joined(n.n, 0, 0, a) })
}

// heardUpTo records which announcements of a node have been heard.
func (n *modelNode) heardUpTo(from, after, upTo int) {
	if after <= n.whole[from] || n.trusting {
		n.whole[from] = max(n.whole[from], upTo)
	}
}

func (n *modelNode) heartbeat() {
	if !n.stopped && n.leaving < waiting && n.now >= n.joins {
		count, t := len(n.said), n.toOne()
		n.others(func(o *modelNode) { o.alive(n.n, count, t) })
	}
	n.after(time.Second, n.heartbeat)
}

// greet tells a node that this one knows it, and asks for the same in return.
func (n *modelNode) greet(to int) {
	t, requests := n.toOne(), n.number
	n.sendTo(to, func() {
		o := n.nodes[to]
		o.isKnown(n.n, t, requests)
		if t, requests := o.toOne(), o.number; o.leaving < waiting {
			o.sendTo(n.n, func() { n.isKnown(to, t, requests) })
		}
	})
}

// isKnown records that another node knows this one. That node's requests up to the given number
// came before that, and are refused.
func (n *modelNode) isKnown(from int, t, requests uint64) {
	n.hear(t)
	if !n.knows[from] && !n.naive {
		n.windows[from].refuse(requests)
	}
	n.known[from], n.knows[from] = true, true
}

func (n *modelNode) alive(from, count int, t uint64) {
	n.hear(t)
	if !n.known[from] {
		n.known[from] = true
		n.greet(from)
	}
	if whole := n.whole[from]; whole != count {
		n.sendTo(from, func() { n.nodes[from].repeat(n.n, whole) })
	}
}

// repeat tells a node which announcements after a number are still valid.
func (n *modelNode) repeat(to, after int) {
	for i, a := range n.said {
		if number := i + 1; number > after && n.entries[a.id].conn > 0 && n.entries[a.id].version == a.version {
			from := after
			n.sendTo(to, func() { n.nodes[to].joined(n.n, from, number, a) })
			after = number
		}
	}
	count := len(n.said)
	n.sendTo(to, func() { n.nodes[to].heardUpTo(n.n, after, count) })
}

// push makes a node push to an id, unless a request for the id is in
// progress. Messages in the mailbox go with it.
func (n *modelNode) push(id int) {
	if n.busy[id] || n.stopped || n.leaving != serving || n.now < n.joins {
		return
	}
	n.seq++
	mail := &n.mail[id]
	mail.batch = append(mail.batch, n.seq)
	if n.forgetful && len(mail.batch) > 1 {
		return
	}
	n.sendMail(id)
}

// sendMail sends everything that waits for an id.
func (n *modelNode) sendMail(id int) {
	if mail := &n.mail[id]; !n.busy[id] && len(mail.batch) > 0 {
		n.busy[id] = true
		r := &modelRequest{id: id, batch: mail.batch, begun: n.now}
		mail.batch = nil
		n.send(r)
	}
}

func (n *modelNode) send(r *modelRequest) {
	if n.leaving == departed {
		n.settle(r, nobody)
		return
	}
	if e := n.entries[r.id]; e.conn > 0 {
		n.write(n.n, r, e.conn)
		n.settle(r, written)
		return
	}
	n.number++
	number := n.number
	r.number, r.heard, r.asked, r.absent = number, n.now, n.now, [modelNodes]bool{}
	n.out = append(n.out, r)
	expires := n.clock.at(n.time().Add(modelTimeout))
	n.toServer(func(server int) {
		var subscribed [modelNodes]int
		count := 0
		for node, here := range n.servers[server][r.id] {
			if here {
				subscribed[count] = node
				count++
			}
		}
		if count == 0 {
			n.toNode(server, n.n, func() { n.finish(number, nobody) })
			return
		}
		node := subscribed[n.r.IntN(count)]
		take := func() { n.nodes[node].take(n.n, number, expires, r) }
		arrive := func() { // dropped where there is no subscription any more
			if n.servers[node%2][r.id][node] {
				n.toNode(node%2, node, take)
				if n.double > 0 && n.r.Float64() < n.double {
					n.toNode(node%2, node, take)
				}
			}
		}
		if node%2 == server {
			arrive()
		} else {
			n.route(server, !n.mixed, arrive)
		}
	})
}

// A modelOutcome is the outcome of a request.
type modelOutcome byte

const (
	written modelOutcome = iota
	moved
	nobody
	uncertain
)

// take handles a request that has arrived.
func (n *modelNode) take(from int, number, expires uint64, r *modelRequest) {
	w := &n.windows[from]
	stranger := from != n.n && !n.knows[from] && !n.naive
	if stranger && n.known[from] {
		n.greet(from)
	}
	if !n.late {
		late := n.clock.at(n.time()) > expires || n.withdrawn || stranger
		if late {
			w.refuse(number)
		}
		if late || !w.take(number) {
			if w.never(number) {
				n.answer(from, func(o *modelNode) { o.finish(number, moved) })
			}
			return
		}
	}
	outcome := moved
	if e := n.entries[r.id]; e.conn > 0 && n.leaving == serving {
		n.write(from, r, e.conn)
		outcome = written
	}
	n.answer(from, func(o *modelNode) { o.finish(number, outcome) })
}

func (m *model) write(from int, r *modelRequest, conn int) {
	on := modelConnection{r.id, conn, from}
	for _, seq := range r.batch {
		if m.written[from][seq] {
			m.fail("message %d of node %d is written twice", seq, from)
		}
		if m.refused[from][seq] {
			m.fail("message %d of node %d is written after its outcome", seq, from)
		}
		if m.last[on] > seq {
			m.fail("message %d of node %d is late: %d was before it", seq, from, m.last[on])
		}
		m.written[from][seq], m.last[on] = true, max(m.last[on], seq)
	}
}

// claim takes a request from out, or returns nil if it is not there.
func (n *modelNode) claim(number uint64) *modelRequest {
	for i, r := range n.out {
		if r.number == number {
			n.out = slices.Delete(n.out, i, i+1)
			return r
		}
	}
	return nil
}

// finish handles the outcome of a request.
func (n *modelNode) finish(number uint64, outcome modelOutcome) {
	r := n.claim(number)
	if r == nil {
		return
	}
	if outcome == moved && n.now-r.begun < modelTimeout {
		n.after(2*time.Millisecond, func() { n.send(r) })
		return
	}
	n.settle(r, outcome)
}

func (n *modelNode) settle(r *modelRequest, outcome modelOutcome) {
	n.longest = max(n.longest, n.now-r.begun)
	n.busy[r.id] = false
	mail := &n.mail[r.id]
	if n.strict && outcome != written {
		n.fail("messages %v of node %d end with %d", r.batch, n.n, outcome)
	}
	switch outcome {
	case nobody, moved: // into the mailbox
		if n.n == noMailbox || n.leaving != serving {
			n.refuse(r.batch)
			n.sendMail(r.id)
			return
		}
		mail.batch = append(r.batch, mail.batch...)
		mail.due, mail.pause = n.now+time.Second, time.Second
	default:
		if !n.forgetful || outcome == written {
			n.sendMail(r.id)
		}
	}
}

// tick looks after requests in progress, and messages in the mailbox.
func (n *modelNode) tick() {
	n.after(100*time.Millisecond, n.tick)
	if n.stopped {
		return
	}
	n.depart()
	for i := len(n.out) - 1; i >= 0; i-- {
		r := n.out[i]
		silent := n.now - r.heard
		switch {
		case silent > modelTimeout:
			n.finish(r.number, uncertain)
		case n.mute || silent <= 200*time.Millisecond || n.now-r.asked < min(300*time.Millisecond+r.asked-r.heard, patience):
		default:
			r.asked = n.now
			for node := range modelNodes {
				if !n.mayHave(node) {
					continue
				}
				number := r.number
				n.sendTo(node, func() { n.nodes[node].probed(n.n, number, r.id) })
			}
		}
	}
	for id := range n.mail {
		if mail := &n.mail[id]; len(mail.batch) > 0 && !n.busy[id] && n.now >= mail.due && !n.forgetful {
			pause := 2 * mail.pause
			n.sendMail(id)
			mail.due, mail.pause = n.now+pause, pause
		}
	}
}

func (n *modelNode) probed(from int, number uint64, id int) {
	w := &n.windows[from]
	w.refuse(number)
	if here := n.entries[id].conn > 0; w.never(number) {
		n.answer(from, func(o *modelNode) { o.isAbsent(n.n, number, here) })
	}
}

// mayHave reports whether a node may have a request from this one.
func (n *modelNode) mayHave(node int) bool { return node == n.n || n.known[node] && !n.gone[node] }

func (n *modelNode) isAbsent(from int, number uint64, here bool) {
	i := slices.IndexFunc(n.out, func(r *modelRequest) bool { return r.number == number })
	if i < 0 {
		return
	}
	r := n.out[i]
	r.absent[from] = true
	everywhere := true
	for node, absent := range r.absent {
		everywhere = everywhere && (absent || !n.mayHave(node))
	}
	if everywhere {
		n.finish(number, moved)
	} else if here && n.now-r.heard > patience {
		n.finish(number, uncertain)
	}
}

func (n *modelNode) stop(d time.Duration) {
	n.stopped = true
	n.after(d, func() {
		n.stopped = false
		backlog := n.backlog
		n.backlog = nil
		for _, do := range backlog {
			do()
		}
	})
}

// check fails the history unless each id is connected once, by its newest connection, and no
// message waits for it in a mailbox.
func (m *model) check() {
	for id := range modelIDs {
		var conns []int
		waiting := 0
		for _, n := range m.nodes {
			if e := n.entries[id]; e.conn > 0 {
				conns = append(conns, e.conn)
			}
			waiting += len(n.mail[id].batch)
		}
		if m.newest[id] == 0 {
			continue
		}
		if !slices.Equal(conns, []int{m.newest[id]}) {
			m.fail("user %d has connections %v, the newest is %d", id, conns, m.newest[id])
		}
		if waiting > 0 {
			m.fail("%d messages wait for user %d, who is connected", waiting, id)
		}
	}
}
