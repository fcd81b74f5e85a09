package cluster

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// The kinds of announcement: the byte after the node's id.
const (
	joined   = 'j' // ids with new connections: all that were announced after one number and up to another
	alive    = 'a' // every second: name, time, the number of the last id, the number of the last request
	greeting = 'g' // the same to one node, which answers with alive
	missing  = 'm' // asks for all ids that were announced after a number
	listing  = 'l' // asks for all ids of a pool
)

// group is the queue group of all nodes. If two nodes have an id for a moment, NATS gives each
// message for the id to only one of them.
const group = "gcpool"

// A member is another node, or this one if it has sent itself a request.
type member struct {
	window
	seen     time.Time // when a message from it, or an answer to it, was last handled
	answers  uint64    // answers sent to it
	answered uint64    // answers that came from it

	name  string
	heard time.Time // its last heartbeat, zero if there was none
	whole uint64    // all ids that it announced up to this number have been heard
	knows uint64    // the cluster's time in its last message to this node alone: it knew this node then
	gone  bool      // it is silent, or its announcements may have been lost
	over  bool      // it has said farewell, and its answers have come; announcements may come late
}

// An entry is an id that is connected here. Its version is the cluster's time at which the
// connection was added. Of two connections of an id, the newer has the higher version.
type entry struct {
	key
	sub     *nats.Subscription
	added   time.Time // see [gcpool.Local.Since]
	version uint64
	number  uint64 // of its announcement
	next    string // the node with a newer connection
}

// An announcer tells NATS and the other nodes which ids are here, and that this node is alive. It
// handles the announcements of other nodes, and closes connections here that are older than
// theirs. Its goroutine owns the fields.
type announcer struct {
	*Node
	entries map[key]*entry
	held    map[*entry]time.Time // until when; see holdTime
	latest  uint64               // the highest number that an id has
	fresh   []*entry             // the ids with the highest numbers, which have not been announced yet
	drained int                  // how many subscriptions were drained; see unsubscribe
	silent  bool                 // since the last tick, NATS has not answered a flush of unsubscribe
	lost    error                // why there was no connection to NATS at the last tick; nil if there was

	lastHeartbeat time.Time
	unheard       time.Time // when the first heartbeat that has not come back was sent; zero if none
	resumes       uint64    // reconnects of nc that it has seen
}

// holdTime is how long an id is held after its connection has ended with Shutdown. A held id keeps
// its subscription, because its user is expected to connect to another node. Until another node
// announces the id, or holdTime has passed, this node answers each push to it without any outcome,
// and the sender tries again.
const holdTime = 2 * time.Second

// Changed implements [gcpool.Cluster]. It does not block.
func (n remote) Changed(pool, id string) {
	n.mu.Lock()
	n.dirty[key{pool, id}] = true
	n.mu.Unlock()
	wake(n.changed)
}

// announce is the announcer's goroutine.
func (s *announcer) announce() {
	s.heartbeat()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-s.changed:
			s.update()
		case m := <-s.control:
			s.hear(m)
		case node := <-s.strangers:
			s.heartbeatTo(s.subject("s", node), greeting)
		case <-ticker.C:
			s.tick()
		case <-s.stop:
			s.leave()
			return
		}
		if s.gone.Load() {
			s.update()
			if len(s.held) == 0 {
				s.leave()
			}
		}
	}
}

// update handles the ids that have changed.
func (s *announcer) update() {
	s.mu.Lock()
	changes := s.dirty
	s.dirty = map[key]bool{}
	s.mu.Unlock()
	for k := range changes {
		s.refresh(k)
	}
	s.sayFresh()
	s.ids.Store(int64(len(s.entries)))
}

// refresh updates the entry of an id that may have changed. It identifies a connection by the time
// when it was added, because not all types of connection can be compared.
func (s *announcer) refresh(k key) {
	added, e := s.added(k), s.entries[k]
	here := !added.IsZero()
	switch {
	case s.withdrawn.Load():
	case !here && e != nil:
		s.drop(e)
	case here && e == nil:
		sub, err := s.nc.ChanQueueSubscribe(s.subjectOf(k), group, s.in)
		if err != nil {
			s.note(err)
		}
		e = &entry{key: k, sub: sub}
		s.entries[k] = e
		fallthrough
	case here && !e.added.Equal(added):
		s.mu.Lock()
		e.added, e.version, e.next = added, s.clock.at(added), ""
		for _, hints := range s.hints {
			delete(hints, k)
		}
		s.mu.Unlock()
		s.latest++
		e.number = s.latest
		s.fresh = append(s.fresh, e)
	}
}

// drop removes an id that has left. If another node announces the id, this node redirects requests
// for the id to that node, for at least hintTTL.
func (s *announcer) drop(e *entry) {
	delete(s.entries, e.key)
	s.mu.Lock()
	s.hints[0][e.key] = e.next
	s.mu.Unlock()
	switch {
	case e.sub == nil:
	case e.next == "" && s.shutDown(e.key):
		s.held[e] = s.now().Add(holdTime)
	default:
		s.unsubscribe(e.sub)
	}
}

// unsubscribe drains a subscription, so that requests on their way still arrive. Without a
// connection it does not drain: nothing is on its way, and nats.go would restore a draining
// subscription when it reconnects. nats.go takes a goroutine for each drain, so unsubscribe waits
// for NATS after every 512. If NATS does not answer, unsubscribe neither drains nor waits until the
// next tick.
func (s *announcer) unsubscribe(sub *nats.Subscription) {
	if s.silent || !s.nc.IsConnected() {
		_ = sub.Unsubscribe()
		return
	}
	resumes := s.nc.Stats().Reconnects
	sub.SetClosedHandler(func(string) { // runs while sub is being closed, under nc's lock
		if s.nc.Reconnects != resumes { // nats.go has restored it
			s.stale.Store(true)
		}
	})
	_ = sub.Drain() // fails if sub has ended
	if s.drained++; s.drained%512 == 0 {
		s.silent = s.nc.FlushTimeout(time.Second) != nil
	}
}

// sayFresh announces to all nodes the ids that have come since it last did so.
func (s *announcer) sayFresh() {
	if len(s.fresh) > 0 {
		s.say(s.subject("s"), s.latest-uint64(len(s.fresh)), s.latest, s.fresh)
		s.fresh = nil
	}
}

// say announces ids, in the order of their numbers: all ids with numbers above after, up to and
// including upTo. It sends as many messages as they need, but at least one, and each message says
// which numbers it covers.
func (s *announcer) say(subject string, after, upTo uint64, ids []*entry) {
	limit := int(s.nc.MaxPayload()) - len(s.id) - 2 - 2*binary.MaxVarintLen64
	var b []byte
	send := func(upTo uint64) {
		head := binary.AppendUvarint(append(appendString(nil, s.id), joined), after)
		s.publish(subject, append(binary.AppendUvarint(head, upTo), b...))
		b, after = b[:0], upTo
	}
	for _, e := range ids {
		size := len(e.pool) + len(e.id) + 3*binary.MaxVarintLen64
		if size > limit {
			s.note(fmt.Errorf("gcpool/cluster: id of %d bytes: %w", len(e.id), errTooLarge))
			continue
		}
		if len(b) > 0 && len(b)+size > min(limit, piece) {
			send(e.number - 1)
		}
		b = appendString(appendString(b, e.pool), e.id)
		b = binary.AppendUvarint(b, e.version)
	}
	send(upTo)
}

// leave withdraws all ids. Only its first call has an effect.
func (s *announcer) leave() {
	if s.withdrawn.Load() {
		return
	}
	for _, e := range s.entries {
		s.drop(e)
	}
	for e := range s.held {
		s.unsubscribe(e.sub)
	}
	clear(s.held)
	s.ids.Store(int64(len(s.entries)))
	if s.nc.IsConnected() {
		_ = s.nc.FlushTimeout(time.Second) // after that, NATS sends no more requests for these ids
	}
	s.withdrawn.Store(true)
}
