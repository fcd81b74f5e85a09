// Package backlog holds the messages that wait for one id, and gives each its outcome. While the
// id is away, its messages wait in the mailbox, or leave for other processes. The package decides
// and records; only Room, Batch.Forward and the function that BroadcastRemote returns can block.
// It knows nothing about connections.
package backlog

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/mailbox"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/report"
	"github.com/nulijiabei/gcpool/internal/schedule"
	"github.com/nulijiabei/gcpool/internal/tasks"
)

// Overflow says what gives way when an outbox is full.
type Overflow int

const (
	Disconnect Overflow = iota
	DropOldest
	DropNewest
)

// Config has the values of the options of a pool.
type Config struct {
	report.Hooks
	Outbox       int
	Overflow     Overflow
	WriteTimeout time.Duration
	Heartbeat    time.Duration
	MailboxTTL   time.Duration // 0 is off
	MailboxBytes int
	Newline      bool
	Binary       bool
}

// Shared is what the ids of one pool share.
type Shared struct {
	// Set at construction.
	Config
	Line   *schedule.Line
	Report *report.Reporter
	Retire func(id string) // drops an id that nothing keeps; must not be called under its lock
	Over   context.Context // ends when Shutdown gives up what it has not delivered
	Cut    func()          // ends Over
	format outbox.Format

	outcome.Counters
	Tasks       tasks.Tasks
	Mailbox     mailbox.Mailbox
	Closed      atomic.Bool            // no more messages are accepted
	Done        chan struct{}          // closed when Closed is set; wakes callers that wait for room
	remote      atomic.Pointer[Remote] // points to nil if there is none
	remoteBytes atomic.Int64           // bytes of messages to be forwarded; see absence.count
	last        atomic.Int64           // the last result of Moment
}

// Init prepares s for a pool with the options in c.
func (s *Shared) Init(c Config, retire func(id string)) {
	s.Config, s.Retire = c, retire
	s.format = outbox.Format{Opcode: frame.Text, Newline: c.Newline}
	if c.Binary {
		s.format.Opcode = frame.Binary
	}
	s.SetRemote(nil)
	s.Done = make(chan struct{})
	s.Line = schedule.NewLine(&s.Tasks)
	s.Report = report.New(c.Hooks, &s.Counters, &s.Tasks)
	s.Mailbox.TTL, s.Mailbox.Bytes, s.Mailbox.Closed = c.MailboxTTL, c.MailboxBytes, &s.Closed
	s.Over, s.Cut = context.WithCancel(context.Background())
}

// Close makes the pool refuse new messages and connections.
func (s *Shared) Close() {
	s.Closed.Store(true)
	close(s.Done)
}

// Room waits until no more than Buffer reports wait for the hooks, if wait is true. It returns
// ErrClosed once the pool is closed.
func (s *Shared) Room(ctx context.Context, wait bool) error {
	if s.Closed.Load() {
		return outcome.ErrClosed
	}
	if !wait {
		return nil
	}
	return s.Report.Room(ctx, s.Done)
}

// Moment returns the time on the line's clock. No two calls return the same time.
func (s *Shared) Moment() time.Duration {
	for {
		last := s.last.Load()
		now := max(last+1, int64(s.Line.Now()))
		if s.last.CompareAndSwap(last, now) {
			return time.Duration(now)
		}
	}
}

// mailboxOn reports whether messages for ids that are away wait in the mailbox.
func (s *Shared) mailboxOn() bool { return s.MailboxTTL > 0 && !s.Closed.Load() }

// keeps reports whether messages stay in the log when their connection is removed for reason.
func (s *Shared) keeps(reason error) bool {
	return s.mailboxOn() || reason == outcome.ErrMoved && s.Remote() != nil
}

// fits reports whether n more bytes may wait for one id, on top of waits. The bound on the number
// of messages limits the memory that the headers of tiny messages take.
func (s *Shared) fits(waits outbox.Count, n int) bool {
	return waits.Bytes+n <= s.Outbox && waits.Messages+waits.Receipts*outbox.ReceiptCost <= s.Outbox/4+1024
}

// Farewell returns the close status for a connection that the application has removed, or whose
// handler has returned.
func (s *Shared) Farewell() frame.Status { return frame.StatusNormal.Final(s.Closed.Load()) }

// Refuse accepts a message for an id that the registry does not have, and reports it as
// undelivered, or returns ErrClosed. If the message may wait, Refuse does nothing and returns
// false.
func (s *Shared) Refuse(m *outbox.Message) (bool, error) {
	s.Tasks.Begin() // before Closed is read: Shutdown waits for this call, or this call sees Closed
	defer s.Tasks.End()
	if s.Closed.Load() {
		return true, outcome.ErrClosed
	}
	if s.mailboxOn() || s.Remote() != nil || !s.Line.Opened() {
		return false, nil
	}
	s.Accepted.Add(1, len(m.Data))
	s.Report.FailOne(m.ID, *m, outcome.ErrNotConnected)
	return true, nil
}
