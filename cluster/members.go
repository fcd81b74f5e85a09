package cluster

import (
	"encoding/binary"
	"net"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// tick runs every 100 ms.
func (s *announcer) tick() {
	now := time.Now()
	s.lookAtNATS()
	if now.Sub(s.lastHeartbeat) >= heartbeat {
		s.heartbeat()
	}
	if s.nc.IsConnected() && now.Sub(s.lastPing) >= heartbeat {
		s.lastPing = now
		s.publish(s.subject("r", s.id, "0"), appendString(nil, s.id)) // see listen
	}
	s.forget(s.now())
	s.unsubscribeAll()
}

// lookAtNATS checks whether nc has closed or reconnected. After a reconnect the other nodes count
// as gone until their next heartbeats, which show whether announcements were lost.
func (s *announcer) lookAtNATS() {
	if s.nc.IsClosed() && !s.over {
		s.note(nats.ErrConnectionClosed) // nc reports nothing more
	}
	if s.nc.IsConnected() && s.stale.Swap(false) {
		_ = s.nc.ForceReconnect() // drops the server's stale subscriptions
	}
	resumes := s.nc.Stats().Reconnects
	s.mu.Lock()
	defer s.mu.Unlock()
	if resumes == s.resumes {
		return
	}
	s.resumes, s.lastEcho, s.hears, s.lastHeartbeat = resumes, s.now(), s.now(), time.Time{}
	for _, m := range s.members {
		m.gone = true
	}
}

// forget removes old members and windows, and ids that need not be held any more.
func (s *announcer) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for node, m := range s.members {
		m.gone = m.gone || now.Sub(m.heard) > memberTimeout
		if now.Sub(m.heard) > time.Hour {
			delete(s.members, node)
			delete(s.direct, node)
		}
	}
	for node, w := range s.windows {
		if now.Sub(w.used) > time.Hour {
			delete(s.windows, node)
		}
	}
	s.held = slices.DeleteFunc(s.held, func(h held) bool {
		last, _ := s.hintLocked(h.key)
		over := last.node != "" || !now.Before(h.until)
		if over {
			s.unused = append(s.unused, h.sub)
		}
		return over
	})
}

// heartbeat tells the other nodes that this node is alive.
func (s *announcer) heartbeat() {
	if !s.over && s.nc.IsConnected() {
		s.lastHeartbeat = time.Now()
		s.heartbeatTo(s.subject("s"))
		s.lookAgain(s.lastHeartbeat)
	}
}

func (s *announcer) heartbeatTo(subject string) {
	b := appendString(append(appendString(nil, s.id), alive), s.name)
	s.mu.Lock()
	b = binary.AppendUvarint(b, s.clock.at(time.Now()))
	s.mu.Unlock()
	b = binary.AppendUvarint(b, s.said)
	s.publish(subject, b)
}

// hear handles an announcement.
func (s *announcer) hear(m *nats.Msg) {
	d := decoder{left: m.Data}
	node, kind := d.string(), d.byte()
	switch {
	case d.bad || !plain(node):
		d.bad = true
	case node == s.id:
	case kind == joined:
		number := d.number()
		for d.more() {
			k, version := key{d.string(), d.string()}, s.timeOf(&d)
			d.bad = d.bad || k.id == ""
			if !d.bad {
				s.elsewhere(k, node, version)
			}
		}
		if !d.bad {
			s.heardOne(node, m.Subject, number)
		}
	case kind == alive:
		s.alive(node, &d, m.Subject == s.subject("s"))
	case kind == repeated:
		s.repeated(node, &d)
	case kind == missing:
		if whole := d.number(); !d.bad {
			s.repeat(node, whole)
		}
	default:
		d.bad = true
	}
	if d.bad {
		s.reject(m)
	}
}

// heardOne notes the number of an announcement if it follows the last number noted. After an
// announcement that was lost or refused it notes none, so this node asks for all of them.
func (s *announcer) heardOne(node, subject string, number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m := s.members[node]; {
	case m == nil:
	case subject == s.subject("s") && number == m.whole+1:
		m.whole = number
	case subject != s.subject("s") && number == m.direct+1:
		m.direct = number
	}
}

// repeated handles the end of repeated announcements. If some of them were lost, this node asks
// again at the next heartbeat.
func (s *announcer) repeated(node string, d *decoder) {
	said, direct := d.number(), d.number()
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.members[node]
	if d.bad || m == nil {
		return
	}
	if m.direct == direct {
		m.whole = said
	}
	m.direct = direct
}

// elsewhere handles a connection of an id at another node. If the connection here is newer, it
// tells that node, and else closes the connection here. A connection here that waits to be
// announced is announced first: if it were left alone and is older, only what the other node then
// tells this one would close it, and no count shows if that is lost. A connection of which Changed
// comes later is newer, because the clock has heard of the version.
func (s *announcer) elsewhere(k key, node string, version uint64) {
	s.mu.Lock()
	_, waits := s.dirty[k]
	s.mu.Unlock()
	if waits {
		s.refresh(k)
		s.say(s.subject("s"))
	}
	e := s.entries[k]
	if e != nil && (e.version > version || e.version == version && s.id > node) {
		s.tell(s.subject("s", node), k, e)
		s.say(s.subject("s", node))
		return
	}
	s.mu.Lock()
	if h, ok := s.hintLocked(k); ok || e != nil { // the node in the hint may hang
		s.hints[0][k] = hint{node, h.since}
	}
	s.mu.Unlock()
	if e != nil {
		e.next = node
	}
	if e == nil || !s.evict(k, e) {
		s.local.Appeared(k.pool, k.id)
	}
}

// evict closes the connection of an entry, but not a later connection of its id. It reports
// whether it closed it. The pool then calls Changed.
func (s *announcer) evict(k key, e *entry) (done bool) {
	_ = s.pool.GetConn(k.pool).Get(k.id, func(conn net.Conn) error {
		done = s.added(k).Equal(e.added) && s.local.Evict(k.pool, k.id, conn)
		return nil
	})
	return done
}

// alive handles a heartbeat, and asks for missing announcements. A heartbeat to this node alone is
// a greeting. A node without ids does not need to know the ids of a newcomer.
func (s *announcer) alive(node string, d *decoder, toAll bool) {
	now := &member{name: d.string(), heard: s.now()}
	s.timeOf(d)
	said := d.number()
	s.mu.Lock()
	before := s.members[node]
	d.bad = d.bad || len(now.name) > maxName || before == nil && len(s.members) >= maxNodes
	if d.bad || s.over || before != nil && before.over {
		s.mu.Unlock()
		return
	}
	if before != nil {
		now.whole, now.direct = before.whole, before.direct
	} else if len(s.entries)+len(s.dirty) == 0 {
		now.whole = said
	}
	whole := now.whole
	s.members[node] = now
	s.mu.Unlock()
	if before == nil && toAll {
		s.heartbeatTo(s.subject("s", node)) // its clock may be behind
	}
	if whole != said {
		s.publish(s.subject("s", node), binary.AppendUvarint(append(appendString(nil, s.id), missing), whole))
	}
	if before == nil || before.gone { // some mail may be for ids there
		for _, p := range s.pool.Stats() {
			s.local.Appeared(p.Name, "")
		}
	}
}

// repeat tells a node the ids of all announcements whose numbers are above whole, and then how
// many messages it should have received.
func (s *announcer) repeat(node string, whole uint64) {
	to := s.subject("s", node)
	for k, e := range s.entries {
		if e.said > whole {
			s.tell(to, k, e)
		}
	}
	s.say(to)
	b := binary.AppendUvarint(append(appendString(nil, s.id), repeated), s.said)
	s.publish(to, binary.AppendUvarint(b, s.direct[node]))
}
