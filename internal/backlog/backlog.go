package backlog

import (
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// A Backlog holds the messages that wait for one id, and gives them their outcomes. It belongs to
// the id, so it outlives each connection. Its lock guards everything about the id. Its methods
// and the methods of absence expect the caller to hold the lock, except absence.Expire and Gone.
type Backlog struct {
	sync.Mutex
	account
	Connected bool
	Dead      bool  // no longer in the registry; look the id up again
	begun     uint8 // counts the chunks that were begun, for sampled
	Index     int32 // in the registry, whose own lock guards it
}

// sampled makes the pool time one chunk in 64, because reading the clock costs as much as a lock.
const sampled = 64

// Init makes b the empty backlog of id.
func (b *Backlog) Init(s *Shared, id string) {
	b.ID = strings.Clone(id) // id may be a part of a long URL, all of which would stay in memory
	b.Shared, b.begun = s, uint8(rand.Uint32())
	b.absence = &noAbsence
}

// Full reports whether m has to wait for room. Before Start, WithBuffer bounds all messages
// except those that another process sends to one id.
func (b *Backlog) Full(m *outbox.Message) bool {
	s, fits := b.Shared, b.fits(len(m.Data))
	switch {
	case !s.Line.Opened() && (!m.FromRemote || m.ID == ""):
		return false
	case b.Connected:
		return !fits
	case m.ID == "":
		return false
	case b.remote():
		return !fits || s.remoteBytes.Load()/remoteShare > int64(s.Outbox)
	}
	return !fits && b.undecided()
}

// Accept counts m as accepted, and stores or reports it. full is the result of Full. Accept does not
// ask again: after a Start in between, other bounds would hold, for which m has not waited. It
// returns true
// if the connection must be removed because m does not fit. The caller always wakes the cursor
// afterwards.
func (b *Backlog) Accept(m *outbox.Message, full bool) (slow bool) {
	s, n, away := b.Shared, len(m.Data), !b.Connected
	if away && m.ID == "" {
		return false // a broadcast is only for ids that are connected
	}
	s.Accepted.Add(1, n)
	switch {
	case b.remote():
		b.append(m, away)
		a := b.openAbsence()
		a.count(n + remoteCost)
		a.due = max(a.due, forwardFirst)
	case b.undecided():
		b.append(m, away)
	case away && s.mailboxOn() && n <= b.mostMail():
		keep(m)
		b.append(m, away)
		b.openAbsence().add(m.Count())
	case away:
		s.Report.FailOne(b.ID, *m, outcome.ErrNotConnected)
	case !full || b.dropOldest(n):
		b.append(m, away)
	case s.Overflow == Disconnect:
		b.append(m, away)
		return true
	default:
		s.Report.FailOne(b.ID, *m, outcome.ErrSlow)
	}
	return false
}

// append appends m to the log. tight says that m may wait for a long time.
func (b *Backlog) append(m *outbox.Message, tight bool) {
	begun := b.Log.Append(m, b.Shared.format, tight)
	if begun == nil {
		return
	}
	if b.begun++; b.begun%sampled == 0 {
		begun.Born = b.Shared.Line.Now()
	}
}

// undecided reports whether a message for an id that is away waits for the cursor's turn in line:
// before Start, and behind messages that were added before Start.
func (b *Backlog) undecided() bool {
	if b.Connected || b.Mail().Messages > 0 {
		return false
	}
	return !b.Shared.Line.Opened() || b.Log.Waits() && !b.Log.Pinned()
}
