package cluster

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// tick runs every 100 ms.
func (s *announcer) tick() {
	s.silent = false
	s.lookAtNATS()
	if time.Since(s.lastHeartbeat) >= heartbeat {
		s.heartbeat()
	}
	s.forget(s.now())
}

// lookAtNATS checks whether nc has closed or reconnected. After a reconnect the other nodes count
// as gone until their next heartbeats, which show whether announcements were lost. If this node has
// not heard itself for natsTimeout, it reconnects: nats.go can take minutes to notice that the
// machine of a server has vanished.
func (s *announcer) lookAtNATS() {
	resumes, connected, lost := s.nc.Stats().Reconnects, s.nc.IsConnected(), error(nil)
	if s.nc.IsClosed() {
		lost = errClosed
	} else if !connected {
		lost = errCut
	}
	if lost != nil && lost != s.lost && !s.withdrawn.Load() {
		noted := lost
		if cause := s.nc.LastError(); lost == errClosed && cause != nil {
			noted = fmt.Errorf("%w: %w", lost, cause)
		}
		s.noteOnce(noted)
	}
	s.lost = lost
	if connected && resumes != s.resumes { // resumes also counts failed attempts
		s.log(slog.LevelInfo, "gcpool/cluster: connected to NATS again")
		s.resumes, s.unheard, s.lastHeartbeat = resumes, time.Time{}, time.Time{}
		s.mu.Lock()
		for _, m := range s.members {
			m.gone = true
		}
		s.mu.Unlock()
	}
	deaf := connected && !s.unheard.IsZero() && len(s.control) == 0 && s.now().Sub(s.unheard) >= natsTimeout
	if deaf {
		s.note(errDeaf)
		s.unheard = time.Time{} // the next try is natsTimeout later
	}
	if connected && (s.stale.Swap(false) || deaf) {
		_ = s.nc.ForceReconnect() // also drops the server's stale subscriptions
	}
}

// forget removes old members, and ids that no longer need to be held.
func (s *announcer) forget(now time.Time) {
	s.mu.Lock()
	for node, m := range s.members {
		m.gone = m.gone || now.Sub(m.heard) > memberTimeout
		if now.Sub(m.seen) > time.Hour {
			delete(s.members, node)
		}
	}
	s.mu.Unlock()
	for e, until := range s.held {
		s.mu.Lock()
		elsewhere, _ := s.hintLocked(e.key)
		s.mu.Unlock()
		if elsewhere != "" || !now.Before(until) {
			delete(s.held, e)
			s.unsubscribe(e.sub)
		}
	}
}

// heartbeat tells the other nodes that this node is alive. The heartbeat also comes back to this
// node, even while the node leaves.
func (s *announcer) heartbeat() {
	if !s.nc.IsConnected() {
		return
	}
	s.lastHeartbeat, s.unheard = time.Now(), cmp.Or(s.unheard, s.now())
	if s.withdrawn.Load() {
		s.heartbeatTo(s.subject("s", s.id), alive)
		return
	}
	s.heartbeatTo(s.subject("s"), alive)
	s.lookAgain(s.lastHeartbeat)
}

func (s *announcer) heartbeatTo(subject string, kind byte) {
	b := appendString(append(appendString(nil, s.id), kind), s.name)
	s.mu.Lock()
	b = binary.AppendUvarint(b, s.clock.at(time.Now()))
	b = binary.AppendUvarint(binary.AppendUvarint(b, s.latest), s.number)
	s.mu.Unlock()
	s.publish(subject, b)
}

// hear handles an announcement. First it gives versions to the connections that came before it: a
// time in the announcement can move the clock ahead, and these connections would then count as
// newer than they are.
func (s *announcer) hear(m *nats.Msg) {
	s.update()
	d := decoder{left: m.Data}
	node, kind := d.string(), d.number()
	switch {
	case d.bad || !plain(node):
		d.bad = true
	case node == s.id:
		s.unheard = time.Time{}
	case kind == joined:
		s.joined(node, &d)
	case kind == alive || kind == greeting:
		s.alive(node, &d, kind, m.Subject == s.subject("s"))
	case kind == missing:
		if after := d.number(); !d.bad {
			s.repeat(s.subject("s", node), after, nil)
		}
	case kind == listing && strings.HasPrefix(m.Reply, s.subject("p", node, "")):
		if pool := d.string(); !d.bad {
			s.repeat(m.Reply, 0, &pool)
		}
	default:
		d.bad = true
	}
	if d.bad {
		s.reject(m)
	}
}

// joined handles an announcement of ids that have new connections at node. It notes the number up
// to which this node has heard all ids of that node. If ids were lost before this announcement, or
// an id in it was refused, it notes nothing, so this node asks for them again.
func (s *announcer) joined(node string, d *decoder) {
	after, upTo := d.number(), d.number()
	for d.more() {
		k, version := key{d.string(), d.string()}, s.timeOf(d)
		d.bad = d.bad || k.id == ""
		if !d.bad {
			s.elsewhere(k, node, version)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.members[node]; m != nil && !d.bad && after <= m.whole {
		m.whole = max(m.whole, upTo)
	}
}

// elsewhere handles a connection of an id at another node. If the connection here is newer, it
// tells that node. Otherwise it closes the connection here. It first announces a connection here
// that has not been announced yet. Without that, an older connection here would stay open until the
// other node objects to its announcement, and nothing would reveal that the objection was lost: it
// has no number.
func (s *announcer) elsewhere(k key, node string, version uint64) {
	s.refresh(k)
	s.sayFresh()
	e := s.entries[k]
	if e != nil && (e.version > version || e.version == version && s.id > node) {
		s.say(s.subject("s", node), 0, 0, []*entry{e})
		return
	}
	s.mu.Lock()
	if _, ok := s.hintLocked(k); ok || e != nil { // the node in an old hint may hang
		s.hints[0][k] = node
	}
	s.mu.Unlock()
	if e != nil {
		e.next = node
	}
	if e == nil || !s.evict(e) {
		s.local.Appeared(k.pool, k.id)
	}
}

// evict closes the connection of an entry, but not a later connection of its id, and reports
// whether it did. After that, the pool calls Changed.
func (s *announcer) evict(e *entry) (done bool) {
	_ = s.pool.GetConn(e.pool).Get(e.id, func(conn net.Conn) error {
		done = s.added(e.key).Equal(e.added) && s.local.Evict(e.pool, e.id, conn)
		return nil
	})
	return done
}

// alive handles a heartbeat, and asks its sender for ids that this node has missed. A heartbeat to
// this node alone shows that its sender knows this node. If this node has no ids when it first
// hears another node, it does not ask for the ids that the other node has announced so far.
func (s *announcer) alive(node string, d *decoder, kind uint64, toAll bool) {
	name, sent := d.string(), s.timeOf(d)
	last, requests := d.number(), d.number()
	if d.bad = d.bad || len(name) > maxName; d.bad {
		return
	}
	s.mu.Lock()
	m := s.memberLocked(node)
	d.bad = s.members[node] == nil // there are too many nodes
	if d.bad || s.withdrawn.Load() || m.over {
		s.mu.Unlock()
		return
	}
	first, back := m.heard.IsZero(), m.gone
	if first && len(s.entries)+len(s.dirty) == 0 {
		m.whole = last
	}
	if !toAll {
		if s.strangerLocked(node) { // it would not ask this node about requests that it sent earlier
			m.refuse(requests)
		}
		m.knows = max(m.knows, sent)
	}
	m.name, m.heard, m.gone = name, m.seen, false
	whole := m.whole
	s.mu.Unlock()
	if kind == greeting {
		s.heartbeatTo(s.subject("s", node), alive)
	} else if first && toAll {
		s.heartbeatTo(s.subject("s", node), greeting) // its clock may be behind ours
	}
	if whole != last {
		s.publish(s.subject("s", node), binary.AppendUvarint(append(appendString(nil, s.id), missing), whole))
	}
	if back { // the mailbox here may hold messages for ids there
		for _, p := range s.pool.Stats() {
			s.local.Appeared(p.Name, "")
		}
	}
}

// repeat announces again, to one node at subject, the ids whose numbers are above after. If pool is
// not nil, it announces only the ids of that pool. The last message has no ids.
func (s *announcer) repeat(subject string, after uint64, pool *string) {
	s.update() // to include ids that have just come
	var ids []*entry
	for _, e := range s.entries {
		if e.number > after && (pool == nil || e.pool == *pool) {
			ids = append(ids, e)
		}
	}
	slices.SortFunc(ids, func(a, b *entry) int { return cmp.Compare(a.number, b.number) })
	s.say(subject, after, s.latest, ids)
	s.say(subject, s.latest, s.latest, nil)
}
