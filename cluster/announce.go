package cluster

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// What nodes tell each other of themselves, each as its first byte after the
// node's id.
const (
	joined  byte = 'j' // ids that have a new connection, each with its version
	alive   byte = 'a' // every second: name, epoch, how many ids, version
	left    byte = 'l'
	missing byte = 'm' // announcements were lost of the node that this is sent to, after so many
)

// group is the queue group of all nodes, so that NATS gives a message for an id
// to one of them, should two have it for a moment.
const group = "gcpool"

// A member is another node.
type member struct {
	name  string
	epoch uint64
	heard time.Time
	said  uint64 // announcements to all that were heard
	whole uint64 // how many had been made when none was lost
	gone  bool   // silent, or what it said may have been lost
}

// An entry is an id that is connected here. The connection with the higher
// version is the newer one: the cluster's time when it came.
type entry struct {
	sub     *nats.Subscription
	added   time.Time // see [gcpool.Local.Since]
	version uint64
	since   time.Time
	said    uint64 // announcements to all when that of it had been made
}

// A announcer is the goroutine that keeps NATS and the other nodes informed of
// which ids are here. Nobody else looks at its fields.
type announcer struct {
	*Node
	entries       map[key]*entry
	gossip        []byte               // an announcement that gathers
	unused        []*nats.Subscription // of ids that have left
	expiring      []expiry             // oldest first
	epoch         uint64
	said          uint64 // announcements to all
	lastHeartbeat time.Time
	lastPing      time.Time
	dropped       int  // announcements of others seen to be lost
	over          bool // the ids have been given up
}

// A place is where an id is that has left, "" if that is not known.
type redirect struct {
	node  string
	until time.Time // and then it is forgotten
}

// A fading is a place that is to be forgotten, unless the id has come back and
// left again meanwhile.
type expiry struct {
	key
	until time.Time
}

// A change is what an id has now, and since when: not since steer, which may have a
// lot to do, has come to look. When a connection was added says which it is, for not
// all can be compared.
type change struct {
	added   time.Time // zero if id has gone
	version uint64
}

// Changed implements [gcpool.Cluster]. It does not block.
func (n remote) Changed(pool, id string) {
	k := key{pool, id}
	n.mu.Lock()
	added := n.added(k)
	if c, ok := n.dirty[k]; !ok || !c.added.Equal(added) { // else it was told already, and is no newer
		n.dirty[k] = change{added, n.versionLocked(added)}
	}
	n.mu.Unlock()
	wake(n.changed)
}

// versionLocked returns the version of a connection that is new to the cluster. One
// from before Join is no newer than it is.
func (n *Node) versionLocked(added time.Time) uint64 {
	if !added.IsZero() && added.Before(n.came) {
		return n.clock.at(added)
	}
	return n.clock.version(time.Now())
}

// added returns when the connection of an id here was added, zero if there is none.
func (n *Node) added(k key) time.Time { return n.local.Since(k.pool, k.id) }

func (n *Node) announce() {
	s := &announcer{Node: n, entries: map[key]*entry{}}
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
			leaving = nil
			s.leave()
		case <-n.stop:
			if leaving != nil {
				s.leave()
			}
			return
		}
	}
}

// turn looks after ids that came or went, some at a time.
func (s *announcer) update() {
	const most = 1024
	batch := make([]key, 0, most)
	s.mu.Lock()
	more := len(s.dirty) > most
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
	s.count()
}

// look brings the entry of an id that changed in line with its connection. One that
// has come or gone since is told of in a moment.
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
		e.added, e.version, e.since = c.added, c.version, time.Now()
		s.mu.Lock()
		delete(s.redirects, k)
		s.mu.Unlock()
		s.tell(s.subject("s"), k, e)
		e.said = s.said + 1 // at the latest
	}
}

// drop forgets an id that has left. For a while, what comes for it is told
// where it is, should another node say so.
func (s *announcer) drop(k key, e *entry) {
	delete(s.entries, k)
	if e.sub != nil {
		s.unused = append(s.unused, e.sub)
	}
	until := time.Now().Add(redirectTTL)
	s.expiring = append(s.expiring, expiry{k, until})
	s.mu.Lock()
	s.redirects[k] = redirect{s.redirects[k].node, until} // an eviction has said where
	s.mu.Unlock()
}

// unsubscribeAll ends subscriptions, but takes what is on its way on them, as
// many at a time as nats.go may have goroutines for that. Without a connection
// there is nothing on its way, and nats.go would bring back what it drains.
func (s *announcer) unsubscribeAll() {
	for len(s.unused) > 0 {
		some := s.unused[:min(len(s.unused), 512)]
		s.unused = s.unused[len(some):]
		for _, sub := range some {
			if s.nc.IsConnected() {
				resumes := s.nc.Stats().Reconnects
				sub.SetClosedHandler(func(string) { // under nc's lock, and at once: later it may have others
					if s.nc.Reconnects != resumes { // nats.go has subscribed it again
						s.stale.Store(true)
					}
				})
				_ = sub.Drain() // fails if it has ended
			} else {
				_ = sub.Unsubscribe()
			}
		}
		if len(s.unused) > 0 && s.nc.IsConnected() {
			_ = s.nc.FlushTimeout(time.Second) // just to go slow
		}
	}
	s.unused = nil
}

// tell adds an id to the announcement for a subject, and sends that when it is
// long.
func (s *announcer) tell(subject string, k key, e *entry) {
	s.mu.Lock()
	limit := s.limit
	s.mu.Unlock()
	size := len(k.pool) + len(k.id) + 3*binary.MaxVarintLen64
	if len(s.gossip)+size > limit {
		s.say(subject)
	}
	if len(s.id)+2+size > limit {
		s.note(fmt.Errorf("gcpool/cluster: id of %d bytes: %w", len(k.id), errTooLarge))
		return
	}
	if len(s.gossip) == 0 {
		s.gossip = append(appendString(nil, s.id), joined)
	}
	s.gossip = appendString(appendString(s.gossip, k.pool), k.id)
	s.gossip = binary.AppendUvarint(s.gossip, e.version)
	if len(s.gossip) > piece {
		s.say(subject)
	}
}

// say sends the announcement that has gathered.
func (s *announcer) say(subject string) {
	if len(s.gossip) > 0 {
		if subject == s.subject("s") {
			s.said++
		}
		s.publish(subject, s.gossip)
		s.gossip = nil
	}
}

// count publishes how many ids are here.
func (s *announcer) count() {
	s.mu.Lock()
	s.ids = len(s.entries)
	s.mu.Unlock()
}

// leave has the ids here found no more.
func (s *announcer) leave() {
	s.over = true
	for k, e := range s.entries {
		s.drop(k, e)
	}
	for _, sub := range s.subs { // others would go on to send to d what is for the ids
		ends := sub.Subject == s.subject("d", s.id) || sub.Subject == s.subject("b")
		if ends && s.nc.IsConnected() {
			_ = sub.Drain()
		}
	}
	s.unsubscribeAll()
	s.count()
	s.publish(s.subject("s"), append(appendString(nil, s.id), left))
	if s.nc.IsConnected() { // or it would wait in vain
		_ = s.nc.FlushTimeout(time.Second) // nobody is sent here after that
	}
	s.withdrawn.Store(true)
}
