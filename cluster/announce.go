package cluster

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// The kinds of announcement: the byte behind the node's id.
const (
	joined   byte = 'j' // ids with a new connection, each with its version
	alive    byte = 'a' // every second: name, time, announcements to all
	missing  byte = 'm' // asks for all announcements after the number given
	repeated byte = 'e' // ends the answer to missing: announcements to all, and to the node that asked
)

// group is the queue group of all nodes. If two nodes have an id for a moment, NATS gives each
// message for the id to only one of them.
const group = "gcpool"

// A member is another node.
type member struct {
	name   string
	heard  time.Time
	whole  uint64 // its announcements to all are heard up to this number
	direct uint64 // and its announcements to this node alone
	gone   bool   // silent, or announcements may have been lost
	over   bool   // it has said farewell and has no ids; earlier announcements may come late
}

// An entry is an id that is connected here. Its version is the cluster's time at which the
// connection came. Of two connections, the higher version is the newer one.
type entry struct {
	sub     *nats.Subscription
	added   time.Time // see [gcpool.Local.Since]
	version uint64
	said    uint64 // the number of its announcement
	next    string // the node with a newer connection
}

// An announcer tells NATS and the other nodes which ids are here, and that this node is alive. It
// handles the announcements of other nodes, and closes connections here that are older than
// theirs. Its goroutine owns the fields.
type announcer struct {
	*Node
	entries map[key]*entry
	gossip  []byte               // the announcement being built
	unused  []*nats.Subscription // ids that have left no longer need these
	held    []held               // ids whose connections ended with Shutdown
	said    uint64               // how many announcements went to all
	direct  map[string]uint64    // how many went to each node alone
	over    bool                 // the node has left and announces no id any more

	lastHeartbeat time.Time
	lastPing      time.Time
}

// A held id keeps its subscription, because its user is expected at another node. Until another
// node announces it, or until holdTime has passed, this node answers that its messages were not
// taken, and their sender tries again.
type held struct {
	key
	sub   *nats.Subscription
	until time.Time
}

// holdTime is how long an id is held after its connection has ended.
const holdTime = time.Second

// A change is the connection of an id at the time of Changed. The announcer may handle it much
// later. The time when a connection was added identifies it, because not all types of
// connection can be compared.
type change struct {
	added   time.Time // zero if there is none
	version uint64
}

// Changed implements [gcpool.Cluster]. It does not block.
func (n remote) Changed(pool, id string) {
	k := key{pool, id}
	n.mu.Lock()
	added := n.added(k)
	if c, ok := n.dirty[k]; !ok || !c.added.Equal(added) { // else it has a version already
		n.dirty[k] = change{added, n.versionLocked(added)}
	}
	n.mu.Unlock()
	wake(n.changed)
}

// announce is the announcer's goroutine.
func (n *Node) announce() {
	s := &announcer{Node: n, entries: map[key]*entry{}, direct: map[string]uint64{}}
	s.heartbeat()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	leaving := n.leaving
	for {
		select {
		case <-n.changed:
			s.update()
		case m := <-n.control:
			s.hear(m)
		case <-ticker.C:
			s.tick()
		case <-leaving:
			for leaving = nil; s.update(); {
			}
		case <-n.stop:
			s.leave()
			return
		}
		if leaving == nil && len(s.held) == 0 {
			s.leave()
		}
	}
}

// update handles some of the ids that have changed, and reports whether there are more.
func (s *announcer) update() (more bool) {
	const most = 1024
	batch := make([]key, 0, most)
	s.mu.Lock()
	more = len(s.dirty) > most
	for k := range s.dirty {
		if len(batch) == most {
			break
		}
		batch = append(batch, k)
	}
	s.mu.Unlock()
	if more {
		wake(s.changed)
	}
	for _, k := range batch {
		s.refresh(k)
	}
	s.say(s.subject("s"))
	s.unsubscribeAll()
	s.ids.Store(int64(len(s.entries)))
	return more
}

// refresh updates the entry of an id that has changed. If the id has changed again since then,
// the next update handles it.
func (s *announcer) refresh(k key) {
	s.mu.Lock()
	c := s.dirty[k]
	delete(s.dirty, k)
	s.mu.Unlock()
	here, e := !c.added.IsZero(), s.entries[k]
	if s.over || !s.added(k).Equal(c.added) {
		return
	}
	switch {
	case !here && e != nil:
		s.drop(k, e)
	case here && e == nil:
		sub, err := s.nc.ChanQueueSubscribe(s.subjectOf(k), group, s.in)
		if err != nil {
			s.note(err)
		}
		e = &entry{sub: sub}
		s.entries[k] = e
		fallthrough
	case here && !e.added.Equal(c.added):
		e.added, e.version, e.next = c.added, c.version, ""
		s.mu.Lock()
		for _, hints := range s.hints {
			delete(hints, k)
		}
		s.mu.Unlock()
		s.tell(s.subject("s"), k, e)
		e.said = s.said + 1
	}
}

// drop removes an id that has left. If another node announces the id, this node redirects
// requests for it there for at least hintTTL.
func (s *announcer) drop(k key, e *entry) {
	delete(s.entries, k)
	switch {
	case e.sub == nil:
	case e.next == "" && !s.over && s.shutDown(k):
		s.held = append(s.held, held{k, e.sub, s.now().Add(holdTime)})
	default:
		s.unused = append(s.unused, e.sub)
	}
	s.mu.Lock()
	s.hints[0][k] = hint{node: e.next}
	s.mu.Unlock()
}

// unsubscribeAll drains subscriptions, so that requests on their way still arrive. It drains
// them in groups, because nats.go uses a goroutine for each. Without a connection nothing is on
// its way, and nats.go would restore a draining subscription when it connects again.
func (s *announcer) unsubscribeAll() {
	for len(s.unused) > 0 {
		some := s.unused[:min(len(s.unused), 512)]
		s.unused = s.unused[len(some):]
		for _, sub := range some {
			if s.nc.IsConnected() {
				resumes := s.nc.Stats().Reconnects
				sub.SetClosedHandler(func(string) { // runs at once, under nc's lock
					if s.nc.Reconnects != resumes { // nats.go has restored it
						s.stale.Store(true)
					}
				})
				_ = sub.Drain() // fails if it has ended
			} else {
				_ = sub.Unsubscribe()
			}
		}
		if len(s.unused) > 0 && s.nc.IsConnected() {
			_ = s.nc.FlushTimeout(time.Second) // before the next group
		}
	}
	s.unused = nil
}

// tell adds an id to the announcement that is being built. If the id does not fit, tell sends the
// announcement first.
func (s *announcer) tell(subject string, k key, e *entry) {
	s.mu.Lock()
	limit := s.limit
	s.mu.Unlock()
	size := len(k.pool) + len(k.id) + 4*binary.MaxVarintLen64
	if len(s.id)+2+size > limit {
		s.note(fmt.Errorf("gcpool/cluster: id of %d bytes: %w", len(k.id), errTooLarge))
		return
	}
	if len(s.id)+2+len(s.gossip)+size > min(limit, piece) {
		s.say(subject)
	}
	s.gossip = appendString(appendString(s.gossip, k.pool), k.id)
	s.gossip = binary.AppendUvarint(s.gossip, e.version)
}

// say sends the announcement that is being built.
func (s *announcer) say(subject string) {
	if len(s.gossip) == 0 {
		return
	}
	var number uint64
	if node, one := strings.CutPrefix(subject, s.subject("s", "")); one {
		s.direct[node]++
		number = s.direct[node]
	} else {
		s.said++
		number = s.said
	}
	b := binary.AppendUvarint(append(appendString(nil, s.id), joined), number)
	s.publish(subject, append(b, s.gossip...))
	s.gossip = s.gossip[:0]
}

// leave withdraws all ids, once.
func (s *announcer) leave() {
	if s.over {
		return
	}
	s.over = true
	for k, e := range s.entries {
		s.drop(k, e)
	}
	for _, h := range s.held {
		s.unused = append(s.unused, h.sub)
	}
	s.held = nil
	s.unsubscribeAll()
	s.ids.Store(int64(len(s.entries)))
	if s.nc.IsConnected() {
		_ = s.nc.FlushTimeout(time.Second) // then NATS sends nothing more for these ids
	}
	s.withdrawn.Store(true)
}
