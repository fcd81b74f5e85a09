package cluster

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// The model is PROTOCOL.md as a simulation: three nodes, two servers of NATS and a route
// between these, in a time of its own. It uses the node's own clock and window. The rules
// can be switched off one by one, to see that the faults of before are found.

// rules are what the nodes of a model go by.
type rules struct {
	wallClock bool // versions are the wall clock's, and refused an hour ahead
	late      bool // requests are taken however late they come
	mute      bool // nobody asks what became of a request
}

const (
	modelTimeout = 3 * time.Second
	modelNodes   = 3
)

type modelEvent struct {
	at    time.Duration
	order int
	do    func()
}

type modelQueue []modelEvent

func (q modelQueue) Len() int { return len(q) }
func (q modelQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q modelQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *modelQueue) Push(e any)   { *q = append(*q, e.(modelEvent)) }
func (q *modelQueue) Pop() any {
	e := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return e
}

// A model is one history.
type model struct {
	rules
	r       *rand.Rand
	now     time.Duration
	events  modelQueue
	order   int
	nodes   [modelNodes]*modelNode
	servers [2]map[string]map[int]bool // who is subscribed, as each server knows
	free    map[string]time.Duration   // when a link delivers next, for it keeps order
	cut     bool                       // the route
	lose    float64                    // how many messages of the route are lost
	double  float64
	mixed   bool // links do not keep order
	delay   time.Duration

	newest  map[string]int // the last connection of an id
	written map[string]bool
	refused map[string]bool // certainly not delivered, by their outcome
	last    map[string]int  // the last message of an origin on a connection
	longest time.Duration   // until an outcome
	wrong   []string
}

type modelEntry struct {
	version uint64
	conn    int
}

type modelPeer struct{ said, whole int }

type modelRequest struct {
	id     string
	seq    int
	to     int // -1 is whoever has the id
	begun  time.Duration
	heard  time.Duration
	asked  time.Duration
	absent map[int]bool
}

type modelNode struct {
	*model
	n       int
	wall    time.Duration // how wrong its wall clock is
	clock   clock
	entries map[string]*modelEntry
	said    map[int]modelAnnounce // by number
	count   int
	peers   [modelNodes]modelPeer
	windows [modelNodes]window
	out     map[uint64]*modelRequest
	number  uint64
	seq     int
	busy    map[string]bool
	stopped bool
	backlog []func()
}

type modelAnnounce struct {
	id      string
	version uint64
}

var modelStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newModel(rules rules, seed uint64) *model {
	m := &model{
		rules: rules, r: rand.New(rand.NewPCG(seed, 1)), free: map[string]time.Duration{}, newest: map[string]int{},
		written: map[string]bool{}, refused: map[string]bool{}, last: map[string]int{}, delay: time.Millisecond,
	}
	for i := range m.servers {
		m.servers[i] = map[string]map[int]bool{}
	}
	for i := range m.nodes {
		n := &modelNode{
			model: m, n: i, entries: map[string]*modelEntry{}, said: map[int]modelAnnounce{}, out: map[uint64]*modelRequest{},
			busy: map[string]bool{}, clock: clock{start: modelStart},
		}
		m.nodes[i] = n
		m.after(time.Duration(i)*30*time.Millisecond, n.tick)
		m.after(time.Duration(i)*40*time.Millisecond, n.heartbeat)
	}
	return m
}

func (m *model) after(d time.Duration, do func()) {
	m.order++
	heap.Push(&m.events, modelEvent{m.now + d, m.order, do})
}

func (m *model) run(until time.Duration) {
	for len(m.events) > 0 && m.events[0].at <= until {
		e := heap.Pop(&m.events).(modelEvent)
		m.now = e.at
		e.do()
	}
	m.now = until
}

func (m *model) fail(format string, args ...any) {
	m.wrong = append(m.wrong, fmt.Sprintf("%v: ", m.now)+fmt.Sprintf(format, args...))
}

// over sends something over a link, which keeps its order.
func (m *model) over(link string, do func()) {
	at := m.now + m.delay + time.Duration(m.r.Int64N(int64(m.delay)))
	if m.mixed {
		at += time.Duration(m.r.Int64N(int64(200 * time.Millisecond)))
	} else {
		at = max(at, m.free[link])
		m.free[link] = at
	}
	m.after(at-m.now, do)
}

// route sends something from one server to the other.
func (m *model) route(from int, do func()) {
	if m.cut || m.r.Float64() < m.lose {
		return
	}
	m.over(fmt.Sprint("route", from), func() {
		if !m.cut {
			do()
		}
	})
}

// toServer has do called at the server of a node, and toNode at a node from a server.
func (n *modelNode) toServer(do func(server int)) {
	n.over(fmt.Sprint("up", n.n), func() { do(n.n % 2) })
}

func (m *model) toNode(server, node int, do func()) {
	n := m.nodes[node]
	arrive := func() {
		m.over(fmt.Sprint("down", node), func() {
			if n.stopped {
				n.backlog = append(n.backlog, do)
			} else {
				do()
			}
		})
	}
	if server != node%2 {
		m.route(server, arrive)
	} else {
		arrive()
	}
}

// sendTo sends to another node's own subject.
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

// subscribe tells the servers that an id has come, or gone.
func (n *modelNode) subscribe(id string, here bool) {
	note := func(server int) {
		if n.servers[server][id] == nil {
			n.servers[server][id] = map[int]bool{}
		}
		n.servers[server][id][n.n] = here
	}
	n.toServer(func(server int) {
		note(server)
		n.route(server, func() { note(1 - server) })
	})
}

// mend ends all faults of the network: servers tell each other what they know.
func (m *model) mend() {
	m.cut, m.lose, m.double, m.mixed = false, 0, 0, false
	for from := range m.servers {
		for id, nodes := range m.servers[from] {
			for node, here := range nodes {
				if node%2 == from && m.servers[1-from][id] != nil || node%2 == from && here {
					if m.servers[1-from][id] == nil {
						m.servers[1-from][id] = map[int]bool{}
					}
					m.servers[1-from][id][node] = here
				}
			}
		}
	}
}

// time is when a node looks at its monotonic clock, wallTime at the other.
func (n *modelNode) time() time.Time { return modelStart.Add(n.now) }
func (n *modelNode) wallTime() uint64 {
	return uint64(modelStart.Add(n.now + n.wall).UnixMicro())
}

func (n *modelNode) version() uint64 {
	if n.wallClock {
		n.clock.last = max(n.clock.last+1, n.wallTime())
		return n.clock.last
	}
	return n.clock.version(n.time())
}

func (n *modelNode) hear(t uint64) bool {
	if n.wallClock {
		ok := t <= n.wallTime()+uint64(time.Hour.Microseconds())
		if ok {
			n.clock.last = max(n.clock.last, t)
		}
		return ok
	}
	return n.clock.hear(t, n.time())
}

func (n *modelNode) told() uint64 {
	if n.wallClock {
		return n.clock.last
	}
	return n.clock.at(n.time())
}

// connect gives an id a new connection.
func (n *modelNode) connect(id string) {
	n.newest[id]++
	if n.entries[id] == nil {
		n.subscribe(id, true)
	}
	e := &modelEntry{n.version(), n.newest[id]}
	n.entries[id] = e
	n.count++
	n.said[n.count] = modelAnnounce{id, e.version}
	number := n.count
	n.others(func(o *modelNode) { o.joined(n.n, number, modelAnnounce{id, e.version}) })
}

func (n *modelNode) leave(id string) {
	if n.entries[id] != nil {
		delete(n.entries, id)
		n.subscribe(id, false)
	}
}

// joined takes an announcement; number 0 is one that repeats.
func (n *modelNode) joined(from, number int, a modelAnnounce) {
	ok := n.hear(a.version)
	if number > 0 && ok {
		n.peers[from].said++
	}
	if !ok {
		return
	}
	e := n.entries[a.id]
	switch {
	case e != nil && (e.version > a.version || e.version == a.version && n.n > from):
		n.tell(from, a.id)
	case e != nil:
		n.leave(a.id)
	}
}

func (n *modelNode) tell(to int, id string) {
	a := modelAnnounce{id, n.entries[id].version}
	n.sendTo(to, func() { n.nodes[to].joined(n.n, 0, a) })
}

func (n *modelNode) heartbeat() {
	if !n.stopped {
		count, t := n.count, n.told()
		n.others(func(o *modelNode) { o.alive(n.n, count, t, true) })
	}
	n.after(time.Second, n.heartbeat)
}

func (n *modelNode) alive(from, count int, t uint64, toAll bool) {
	n.hear(t)
	p := &n.peers[from]
	if !toAll || p.said == count {
		p.said, p.whole = count, count
		return
	}
	whole := p.whole
	n.sendTo(from, func() { n.nodes[from].repeat(n.n, whole) })
}

func (n *modelNode) repeat(to, whole int) {
	for number := whole + 1; number <= n.count; number++ {
		if a := n.said[number]; n.entries[a.id] != nil && n.entries[a.id].version == a.version {
			n.tell(to, a.id)
		}
	}
	count, t := n.count, n.told()
	n.sendTo(to, func() { n.nodes[to].alive(n.n, count, t, false) })
}

// push has a node push to an id, unless one is on its way.
func (n *modelNode) push(id string) {
	if !n.busy[id] && !n.stopped {
		n.busy[id] = true
		n.seq++
		n.send(&modelRequest{id: id, seq: n.seq, to: -1, begun: n.now})
	}
}

func (n *modelNode) send(r *modelRequest) {
	if e := n.entries[r.id]; e != nil {
		n.write(n.n, r.id, r.seq, e.conn)
		n.settle(r, "written")
		return
	}
	n.number++
	number := n.number
	r.heard, r.asked, r.absent = n.now, n.now, map[int]bool{}
	n.out[number] = r
	expires := n.clock.at(n.time().Add(modelTimeout))
	n.toServer(func(server int) {
		var subscribed []int
		for node := range modelNodes {
			if n.servers[server][r.id][node] {
				subscribed = append(subscribed, node)
			}
		}
		if len(subscribed) == 0 {
			n.toNode(server, n.n, func() { n.finish(number, "nobody") })
			return
		}
		node := subscribed[n.r.IntN(len(subscribed))]
		take := func() { n.nodes[node].take(n.n, number, expires, r.id, r.seq) }
		arrive := func() { // where there is no subscription any more it is dropped
			if n.servers[node%2][r.id][node] {
				n.toNode(node%2, node, take)
				if n.r.Float64() < n.double {
					n.toNode(node%2, node, take)
				}
			}
		}
		if node%2 == server {
			arrive()
		} else {
			n.route(server, arrive)
		}
	})
}

// take is a request that has come.
func (n *modelNode) take(from int, number, expires uint64, id string, seq int) {
	w := &n.windows[from]
	if !n.late {
		late := n.clock.at(n.time()) > expires
		if late {
			w.refuse(number)
		}
		if late || !w.take(number) {
			if w.never(number) {
				n.sendTo(from, func() { n.nodes[from].finish(number, "moved") })
			}
			return
		}
	}
	outcome := "moved"
	if e := n.entries[id]; e != nil {
		n.write(from, id, seq, e.conn)
		outcome = "written"
	}
	n.sendTo(from, func() { n.nodes[from].finish(number, outcome) })
}

func (m *model) write(from int, id string, seq, conn int) {
	what, on := fmt.Sprint(from, "/", seq), fmt.Sprint(conn, " of ", id, " from ", from)
	if m.written[what] {
		m.fail("message %s is written twice", what)
	}
	if m.refused[what] {
		m.fail("message %s is written after its outcome", what)
	}
	if m.last[on] > seq {
		m.fail("message %s is late: %d was before it", what, m.last[on])
	}
	m.written[what], m.last[on] = true, max(m.last[on], seq)
}

// finish is the answer to a request.
func (n *modelNode) finish(number uint64, outcome string) {
	r := n.out[number]
	if r == nil {
		return
	}
	delete(n.out, number)
	if outcome == "moved" && n.now-r.begun < modelTimeout {
		n.after(2*time.Millisecond, func() { n.send(r) })
		return
	}
	n.settle(r, outcome)
}

func (n *modelNode) settle(r *modelRequest, outcome string) {
	if outcome == "nobody" || outcome == "moved" {
		n.refused[fmt.Sprint(n.n, "/", r.seq)] = true
	}
	n.longest = max(n.longest, n.now-r.begun)
	n.busy[r.id] = false
}

// tick looks after what is on its way.
func (n *modelNode) tick() {
	n.after(100*time.Millisecond, n.tick)
	if n.stopped {
		return
	}
	for _, number := range sortedKeys(n.out) {
		r := n.out[number]
		silent := n.now - r.heard
		switch {
		case silent > modelTimeout:
			n.finish(number, "uncertain")
		case n.mute || silent <= 200*time.Millisecond || n.now-r.asked < min(300*time.Millisecond+r.asked-r.heard, patience):
		default:
			r.asked = n.now
			for node := range modelNodes {
				n.sendTo(node, func() { n.nodes[node].probed(n.n, number, r.id) })
			}
		}
	}
}

func (n *modelNode) probed(from int, number uint64, id string) {
	w := &n.windows[from]
	w.refuse(number)
	if here := n.entries[id] != nil; w.never(number) {
		n.sendTo(from, func() { n.nodes[from].absent(n.n, number, here) })
	}
}

func (n *modelNode) absent(from int, number uint64, here bool) {
	r := n.out[number]
	if r == nil {
		return
	}
	if r.absent[from] = true; len(r.absent) == modelNodes {
		n.finish(number, "moved")
	} else if here && n.now-r.heard > patience {
		n.finish(number, "uncertain")
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

// check fails the history unless each id is connected once, by its newest connection.
func (m *model) check(ids ...string) {
	for _, id := range ids {
		var conns []int
		for _, n := range m.nodes {
			if e := n.entries[id]; e != nil {
				conns = append(conns, e.conn)
			}
		}
		if m.newest[id] > 0 && !slices.Equal(conns, []int{m.newest[id]}) {
			m.fail("%q has connections %v, the newest is %d", id, conns, m.newest[id])
		}
	}
}

func sortedKeys(m map[uint64]*modelRequest) []uint64 {
	keys := make([]uint64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
