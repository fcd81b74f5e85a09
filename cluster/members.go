package cluster

import (
	"encoding/binary"
	"math"
	"net"
	"time"

	"github.com/nats-io/nats.go"
)

// tick does what is to be done from time to time.
func (s *announcer) tick() {
	s.resume() // before receive, perhaps
	now := time.Now()
	s.lookAtNATS(now)
	if now.Sub(s.lastHeartbeat) >= heartbeat {
		s.heartbeat()
	}
	if s.nc.IsConnected() && now.Sub(s.lastPing) >= heartbeat {
		s.lastPing = now
		s.publish(s.subject("r", s.id, "0"), appendString(nil, s.id)) // for listen
	}
	if s.nc.IsConnected() && s.unsent.Swap(false) {
		s.appeared() // for nothing else tells that NATS goes on
	}
	s.forget(now)
}

// lookAtNATS finds out whether nc has connected again, or dropped announcements.
func (s *announcer) lookAtNATS(now time.Time) {
	dropped := 0
	for _, sub := range s.subs {
		if n, err := sub.Dropped(); err == nil {
			dropped += n
		}
	}
	if s.nc.IsClosed() && !s.over {
		s.note(nats.ErrConnectionClosed) // and nc says no more
	}
	resumes := s.nc.Stats().Reconnects
	s.mu.Lock()
	back := resumes != s.resumes
	if back {
		s.resumes, s.lastEcho = resumes, now
	}
	s.mu.Unlock()
	if back || dropped != s.dropped {
		s.missed(dropped != s.dropped)
		s.dropped = dropped
	}
	if s.nc.IsConnected() && s.stale.Swap(false) {
		_ = s.nc.ForceReconnect() // the only way to be rid of an interest that nats.go has forgotten
	}
}

// forget drops what is too old: nodes, the windows of their requests, and redirects.
func (s *announcer) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for node, m := range s.members {
		m.gone = m.gone || now.Sub(m.heard) > memberTimeout
		if now.Sub(m.heard) > time.Hour {
			delete(s.members, node)
		}
	}
	for node, w := range s.windows {
		if now.Sub(w.used) > time.Hour {
			delete(s.windows, node)
		}
	}
	for len(s.expiring) > 0 && now.After(s.expiring[0].until) {
		if k := s.expiring[0].key; s.entries[k] == nil && now.After(s.redirects[k].until) {
			delete(s.redirects, k)
		}
		s.expiring = s.expiring[1:]
	}
}

// missed has this node and each other tell what they may not have heard of each
// other; all of it, if all may have been lost that others said.
func (s *announcer) missed(all bool) {
	s.epoch++
	s.mu.Lock()
	for _, m := range s.members {
		m.gone = true
		if all {
			m.said, m.whole = math.MaxUint64, 0
		}
	}
	s.mu.Unlock()
	s.lastHeartbeat = time.Time{}
}

// heartbeat tells the others that this node is there.
func (s *announcer) heartbeat() {
	if !s.over && s.nc.IsConnected() {
		s.lastHeartbeat = time.Now()
		s.heartbeatTo(s.subject("s"))
	}
}

func (s *announcer) heartbeatTo(subject string) {
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
func (s *announcer) hear(m *nats.Msg) {
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
		s.reject(m)
	}
}

// heardOne counts an announcement to all, so that one that was lost, or made no sense, is
// missed.
func (s *announcer) heardOne(node, subject string) {
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
func (s *announcer) timeOf(d *decoder) uint64 {
	t := d.number()
	s.mu.Lock()
	defer s.mu.Unlock()
	d.bad = d.bad || !s.clock.hear(t, time.Now())
	return t
}

// elsewhere notes that another node has a connection of an id. If there is one
// here, the newer wins; one that has just come is yet to be announced, and that node
// says then which wins.
func (s *announcer) elsewhere(k key, node string, version uint64) {
	e := s.entries[k]
	if e != nil && (e.version > version || e.version == version && s.id > node) {
		s.tell(s.subject("s", node), k, e)
		s.say(s.subject("s", node))
		return
	}
	s.mu.Lock()
	if p, ok := s.redirects[k]; ok || e != nil {
		s.redirects[k] = redirect{node, p.until}
	}
	for _, hints := range s.hints {
		if h, ok := hints[k]; ok { // which may hang, and redirect nobody
			hints[k] = hint{node, h.since}
		}
	}
	s.mu.Unlock()
	if e == nil || !s.evict(k, e) {
		s.local.Appeared(k.pool, k.id)
	}
}

// evict closes the connection of an entry, but none that came after it, and reports
// whether it did; Changed sees to the rest.
func (s *announcer) evict(k key, e *entry) (done bool) {
	_ = s.pool.GetConn(k.pool).Get(k.id, func(conn net.Conn) error {
		done = s.added(k).Equal(e.added) && s.local.Evict(k.pool, k.id, conn)
		return nil
	})
	return done
}

// alive notes that another node is there. What a node says to this one alone answers its
// first heartbeat, or comes behind all that was missing.
func (s *announcer) alive(node string, d *decoder, toAll bool) {
	now := member{name: d.string(), epoch: d.number(), heard: time.Now()}
	ids := d.number()
	s.timeOf(d)
	now.said = d.number()
	s.mu.Lock()
	before := s.members[node]
	d.bad = d.bad || len(now.name) > maxName || before == nil && len(s.members) >= maxNodes
	if d.bad || s.over {
		s.mu.Unlock()
		return
	}
	lost := before != nil && toAll && before.said != now.said
	now.whole = now.said
	if lost {
		now.said, now.whole = before.said, before.whole
	}
	s.members[node] = &now
	s.mu.Unlock()
	if lost {
		b := append(appendString(nil, s.id), missing)
		s.publish(s.subject("s", node), binary.AppendUvarint(b, now.whole))
	}
	s.meet(node, before, now, ids, toAll)
}

// meet tells a node that has not been there what it may not have heard of ids here: those
// that came since.
func (s *announcer) meet(node string, before *member, now member, ids uint64, toAll bool) {
	if before != nil && !before.gone && before.epoch == now.epoch {
		return
	}
	if before == nil && toAll {
		s.heartbeatTo(s.subject("s", node)) // for its clock may be behind
	}
	if before != nil {
		s.sync(node, before.heard)
	} else if ids > 0 {
		s.sync(node, time.Time{})
	}
	s.appeared() // what waits here may be for its ids
}

// appeared has all that is in a mailbox forwarded.
func (s *announcer) appeared() {
	for _, p := range s.pool.Stats() {
		s.local.Appeared(p.Name, "")
	}
}

// sync tells a node of the ids that came here since it was last heard, and a
// little before.
func (s *announcer) sync(node string, since time.Time) {
	s.tellOf(node, func(e *entry) bool { return e.since.After(since.Add(-2 * heartbeat)) })
}

// repeat tells a node of the ids that were announced after so many announcements to
// all, and that those were all: until it hears that, it asks once more.
func (s *announcer) repeat(node string, whole uint64) {
	s.tellOf(node, func(e *entry) bool { return e.said > whole })
	s.heartbeatTo(s.subject("s", node))
}

// tellOf tells a node of some of the ids here.
func (s *announcer) tellOf(node string, of func(e *entry) bool) {
	to := s.subject("s", node)
	for k, e := range s.entries {
		if of(e) {
			s.tell(to, k, e)
		}
	}
	s.say(to)
}
