package delivery

import (
	"context"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/cursor"
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
)

// A Recipient is one id: its backlog, and the cursor that writes it. The methods of the cursor
// and the methods here lock the backlog, except ID, Index and those whose names end in Locked.
//
// A Recipient takes three whole cache lines, and StreamPool.Add changes mostly the first two. If
// two ids shared a line, two processors would keep taking it from each other.
type Recipient struct {
	backlog backlog.Backlog
	cursor.Cursor
}

// NewRecipient returns a Recipient for id, with no connection. o has the owners of the id's
// earlier connections.
func NewRecipient(s *backlog.Shared, id string, o owners.List) *Recipient {
	r := new(Recipient)
	r.backlog.Init(s, id)
	r.Cursor = cursor.New(&r.backlog, o)
	return r
}

// Index returns a pointer to r's index in the registry, which uses it under its own lock.
func (r *Recipient) Index() *int32 { return &r.backlog.Index }

// ID returns the id.
func (r *Recipient) ID() string { return r.backlog.ID }

// Push accepts m. It waits for room while the peer reads, until ctx ends or the group is closed.
// If r is dead, Push does nothing and reports false.
func (r *Recipient) Push(ctx context.Context, m *outbox.Message) (bool, error) {
	b := &r.backlog
	for {
		b.Lock()
		if b.Dead {
			b.Unlock()
			return false, nil
		}
		wait, err := r.tryLocked(m)
		if wait <= 0 {
			away, empty := !b.Connected, b.Log.Empty()
			write := r.InlineLocked()
			b.Unlock()
			switch {
			case write != nil:
				write()
			case away && empty:
				b.Shared.Retire(b.ID)
			case away && b.Shared.Mailbox.TTL > 0:
				b.Shared.Mailbox.Fit(len(m.Data) + len(b.ID))
			}
			return true, err
		}
		room := b.Room.Next()
		b.Unlock()
		select {
		case <-room:
		case <-time.After(wait):
		case <-ctx.Done():
			return true, ctx.Err()
		case <-r.backlog.Shared.Done:
			return true, outcome.ErrClosed
		}
	}
}

// PushAll accepts a batch from another process for r's connection, but does not wait for room. It
// returns how many messages it took, and why it did not take the rest. Once all messages that it
// took have their outcomes, it calls done with these outcomes. It holds the lock throughout, so
// that no message is written after one with ErrMoved.
func (r *Recipient) PushAll(batch [][]byte, done func(errs []error)) (taken int, err error) {
	r.backlog.Lock()
	defer r.backlog.Unlock()
	errs := make([]error, len(batch))
	left := 1 // counts outcomes to come, and 1 until all messages are in; under the lock
	settle := func() {
		if left--; left == 0 && taken > 0 {
			r.backlog.Shared.Tasks.Go(func() { done(errs[:taken]) })
		}
	}
	defer settle()
	for i, data := range batch {
		m := outbox.Message{ID: r.ID(), Data: data, FromRemote: true, Receipt: &outbox.Receipt{Decide: func(err error) func() {
			errs[i] = err
			return settle
		}}}
		left++
		wait, err := r.tryLocked(&m)
		if wait > 0 {
			err = context.Canceled
		}
		if err != nil {
			left--
			return taken, err
		}
		taken++
		r.WakeLocked()
	}
	return taken, nil
}

// tryLocked accepts m, unless m is refused, or has to wait for room first.
func (r *Recipient) tryLocked(m *outbox.Message) (wait time.Duration, err error) {
	b := &r.backlog
	switch {
	case b.Shared.Closed.Load():
		return 0, outcome.ErrClosed
	case m.FromRemote && m.ID != "" && (!b.Connected || b.Travels()):
		return 0, outcome.ErrMoved
	case len(m.Data) > b.Shared.Outbox: // another process may allow more
		return 0, outcome.ErrTooLarge
	}
	full := b.Full(m)
	if full {
		if wait = r.PatienceLocked(); wait > 0 {
			return wait, nil
		}
	}
	if b.Accept(m, full) {
		r.RemoveLocked(outcome.ErrSlow, frame.Status{})
	}
	return 0, nil
}

// Appeared notes that r's id is connected to another process. Messages for it in the mailbox go
// there.
func (r *Recipient) Appeared() {
	r.backlog.Lock()
	defer r.backlog.Unlock()
	r.backlog.Appeared()
	r.WakeLocked()
}

// Conn returns r's connection, or nil if there is none.
func (r *Recipient) Conn() *cursor.Connection {
	r.backlog.Lock()
	defer r.backlog.Unlock()
	conn, _ := r.ConnLocked()
	return conn
}

// An Info is what package gcpool documents under the same name.
type Info struct {
	Since                 time.Time
	Kind                  string
	Waiting, WaitingBytes int
	Mailbox, MailboxBytes int
	Stalled               time.Time
}

// Info returns what is known of r.
func (r *Recipient) Info() (i Info) {
	r.backlog.Lock()
	defer r.backlog.Unlock()
	conn, stalled := r.ConnLocked()
	if i.Stalled = stalled; conn != nil {
		i.Since, i.Kind = r.backlog.Shared.Line.Time(conn.Since), conn.Kind()
	}
	all, mail := r.backlog.Log.Count, r.backlog.Mail()
	i.Waiting, i.WaitingBytes, i.Mailbox, i.MailboxBytes = all.Messages, all.Bytes, mail.Messages, mail.Bytes
	return i
}
