package cluster

import (
	"encoding/binary"
	"math"
	"net"
	"time"

	"github.com/nats-io/nats.go"
)

// tick does what is to be done from time to time.
func (s *steward) tick() {
	s.resume() // before receive, perhaps
	now, lost := time.Now(), 0
	for _, sub := range s.subs {
		if dropped, err := sub.Dropped(); err == nil {
			lost += dropped
		}
	}
	if s.nc.IsClosed() && !s.over {
		s.note(nats.ErrConnectionClosed) // and nc says no more
	}
	resumes := s.nc.Stats().Reconnects
	s.mu.Lock()
	back := resumes != s.resumes
	if back {
		s.resumes, s.echoed = resumes, now
	}
	s.mu.Unlock()
	if back || lost != s.dropped {
		s.missed(lost != s.dropped)
		s.dropped = lost
	}
	if s.nc.IsConnected() && s.stale.Swap(false) {
		_ = s.nc.ForceReconnect() // the only way to be rid of an interest that nats.go has forgotten
	}
	if now.Sub(s.beaten) >= beat {
		s.beat()
	}
	if now.Sub(s.pinged) >= beat && s.nc.IsConnected() {
		s.pinged = now
		s.publish(s.subject("r", s.id, "0"), appendString(nil, s.id)) // answered takes it
	}
	if s.nc.IsConnected() && s.unsent.Swap(false) {
		s.appeared() // for nothing else tells that NATS goes on
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for node, m := range s.members {
		switch quiet := now.Sub(m.heard); {
		case quiet > time.Hour:
			delete(s.members, node)
			delete(s.windows, node)
		case quiet > silence:
			m.gone = true
		}
	}
	for node, w := range s.windows {
		if now.Sub(w.used) > time.Hour {
			delete(s.windows, node)
		}
	}
	for len(s.fading) > 0 && now.After(s.fading[0].until) {
		if k := s.fading[0].key; s.entries[k] == nil && now.After(s.moved[k].until) {
			delete(s.moved, k)
		}
		s.fading = s.fading[1:]
	}
}

// missed has this node and each other tell what they may not have heard of each
// other; all of it, if all may have been lost that others said.
func (s *steward) missed(all bool) {
	s.epoch++
	s.mu.Lock()
	for _, m := range s.members {
		m.gone = true
		if all {
			m.said, m.whole = math.MaxUint64, 0
		}
	}
	s.mu.Unlock()
	s.beaten = time.Time{}
}

// beat tells the others that this node is there.
func (s *steward) beat() {
	if !s.over && s.nc.IsConnected() {
		s.beaten = time.Now()
		s.beatTo(s.subject("s"))
	}
}

func (s *steward) beatTo(subject string) {
	b := appendString(append(appendString(nil, s.id), alive), s.name)
	b = binary.AppendUvarint(b, s.epoch)
	b = binary.AppendUvarint(b, uint64(len(s.entries)))
	s.mu.Lock()
	b = binary.AppendUvarint(b, s.clock.at(time.Now()))
	s.mu.Unlock()
	b = binary.AppendUvarint(b, s.said)
	s.publish(subject, b)
}

// hear takes what another node says of itself.
func (s *steward) hear(m *nats.Msg) {
	d := decoder{left: m.Data}
	node, kind := d.string(), d.byte()
	switch {
	case d.bad || !plain(node):
		d.bad = true
	case node == s.id:
	case kind == joined:
		for d.more() {
			k, version := key{d.string(), d.string()}, s.timeOf(&d)
			d.bad = d.bad || k.id == ""
			if !d.bad {
				s.elsewhere(k, node, version)
			}
		}
		if !d.bad {
			s.heardOne(node, m.Subject)
		}
	case kind == alive:
		s.alive(node, &d, m.Subject == s.subject("s"))
	case kind == missing:
		if whole := d.number(); !d.bad {
			s.repeat(node, whole)
		}
	case kind == left:
		s.mu.Lock()
		delete(s.members, node)
		s.mu.Unlock()
	default:
		d.bad = true
	}
	if d.bad {
		s.distrust(m)
	}
}

// heardOne counts an announcement to all, so that one that was lost, or made no sense, is
// missed.
func (s *steward) heardOne(node, subject string) {
	if subject != s.subject("s") {
		return
	}
	s.mu.Lock()
	if m := s.members[node]; m != nil {
		m.said++
	}
	s.mu.Unlock()
}

// timeOf takes a version, or the time of another node's clock.
func (s *steward) timeOf(d *decoder) uint64 {
	t := d.number()
	s.mu.Lock()
	defer s.mu.Unlock()
	d.bad = d.bad || !s.clock.hear(t, time.Now())
	return t
}

// elsewhere notes that another node has a connection of an id. If there is one
// here, the newer wins; one that has just come is yet to be announced, and that node
// says then which wins.
func (s *steward) elsewhere(k key, node string, version uint64) {
	e := s.entries[k]
	if e != nil && (e.version > version || e.version == version && s.id > node) {
		s.tell(s.subject("s", node), k, e)
		s.say(s.subject("s", node))
		return
	}
	s.mu.Lock()
	if p, ok := s.moved[k]; ok || e != nil {
		s.moved[k] = place{node, p.until}
	}
	for _, homes := range s.homes {
		if h, ok := homes[k]; ok { // which may hang, and redirect nobody
			homes[k] = home{node, h.since}
		}
	}
	s.mu.Unlock()
	if e == nil || !s.evict(k, e) {
		s.pool.GetConn(k.pool).Appeared(k.id)
	}
}

// evict closes the connection of an entry, but none that came after it, and reports
// whether it did; Changed sees to the rest.
func (s *steward) evict(k key, e *entry) (done bool) {
	conns := s.pool.GetConn(k.pool)
	_ = conns.Get(k.id, func(conn net.Conn) error {
		done = s.added(k).Equal(e.added) && conns.Evict(k.id, conn)
		return nil
	})
	return done
}

// alive notes that another node is there. If it has not been, it and this one may
// not have heard of each other's ids since: it is told those that came then. What a
// node says to this one alone answers its first beat, or comes behind all that was
// missing.
func (s *steward) alive(node string, d *decoder, toAll bool) {
	name, epoch, ids := d.string(), d.number(), d.number()
	s.timeOf(d)
	said := d.number()
	if d.bad = d.bad || len(name) > mostName; d.bad || s.over {
		return
	}
	now := time.Now()
	s.mu.Lock()
	m := s.members[node]
	known := m != nil
	if !known && len(s.members) >= mostNodes {
		s.mu.Unlock()
		d.bad = true
		return
	}
	if !known {
		m = &member{epoch: epoch, said: said}
		s.members[node] = m
	}
	since, back := m.heard, !known || m.gone || m.epoch != epoch
	lost, whole := toAll && m.said != said, m.whole
	m.name, m.epoch, m.heard, m.gone = name, epoch, now, false
	if !lost {
		m.said, m.whole = said, said
	}
	s.mu.Unlock()
	if lost {
		s.publish(s.subject("s", node), binary.AppendUvarint(append(appendString(nil, s.id), missing), whole))
	}
	if !back {
		return
	}
	if !known && toAll {
		s.beatTo(s.subject("s", node)) // for its clock may be behind
	}
	if known || ids > 0 {
		s.sync(node, since)
	}
	s.appeared() // what waits here may be for its ids
}

// appeared has all that is in a mailbox forwarded.
func (s *steward) appeared() {
	for _, p := range s.pool.Stats() {
		s.pool.GetConn(p.Name).Appeared("")
	}
}

// sync tells a node of the ids that came here since it was last heard, and a
// little before.
func (s *steward) sync(node string, since time.Time) {
	s.tellOf(node, func(e *entry) bool { return e.since.After(since.Add(-2 * beat)) })
}

// repeat tells a node of the ids that were announced after so many announcements to
// all, and that those were all: until it hears that, it asks once more.
func (s *steward) repeat(node string, whole uint64) {
	s.tellOf(node, func(e *entry) bool { return e.said > whole })
	s.beatTo(s.subject("s", node))
}

// tellOf tells a node of some of the ids here.
func (s *steward) tellOf(node string, of func(e *entry) bool) {
	to := s.subject("s", node)
	for k, e := range s.entries {
		if of(e) {
			s.tell(to, k, e)
		}
	}
	s.say(to)
}
