package gcpool

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/schedule"
)

// A StreamPool is the stream of one pool: messages, each a payload for an id. The messages of an id
// wait in its outbox, and leave on its connection.
//
// All methods are safe for concurrent use. The methods of a nil *StreamPool return
// ErrNotRegistered, or the zero value.
type StreamPool struct {
	conns *ConnPool

	places atomic.Int64 // how many places of WithBuffer were taken before Start
}

// Undelivered is one message that was accepted and not delivered. Data has no newline added, and
// the receiver may keep it.
type Undelivered struct {
	Pool, ID string
	Data     []byte
	// Err wraps ErrNotConnected, ErrSlow, ErrDeleted, ErrExpired or ErrClosed. With a [Cluster]
	// it may also be an error of the Cluster, or ErrTooLarge from another process.
	Err error
}

// Add copies data and queues it for id, after everything that this goroutine has added for id
// before. A nil error means that the message was accepted: from now on it has exactly one outcome.
// It is written to the connection of id, or reported to WithUndelivered. Add returns nil even if id
// is not connected.
//
// Add waits in three cases. Before Start, it waits once WithBuffer messages have been added. While
// the outbox of id is full, it waits as long as the peer has acknowledged something within the last
// second or, where the pool cannot see acknowledgements (see [WithWriteTimeout]), as long as a
// write has returned within the last second. And it waits while more than WithBuffer calls wait for
// slow hooks. Shutdown ends the wait. Calls that wait for room do not queue: a call with a long
// message may wait for as long as others keep the outbox full of short ones. Bound such calls with
// [StreamPool.AddContext].
//
// If the pool is idle and the connection is under [Upgrade], without TLS and without a listener that
// wraps it, Add itself writes as much as the system takes at once. Other goroutines write everything else.
//
// Before Start, nothing is written, and only WithBuffer bounds what waits, not WithOutbox. The id
// need not be connected yet. If the connection of id is removed before Start, what waits goes to
// the mailbox or is reported.
//
// On a WebSocket, data becomes a text frame, or a binary frame if PayloadType or [WithBinary] says
// so. The payload of a text frame must be UTF-8 (RFC 6455 section 8.1); otherwise a browser closes
// the connection. Add does not check the payload, because the check would cost 17 µs for 8 KiB of
// Chinese. Use [unicode/utf8.Valid] for payloads that come from elsewhere.
//
// Add returns ErrInvalid for an empty id, ErrTooLarge for more than WithOutbox bytes, and ErrClosed
// after Shutdown.
func (s *StreamPool) Add(id string, data []byte) error {
	return s.AddContext(context.Background(), id, data)
}

// AddContext is like Add, but waits no longer than ctx. If ctx ends first, AddContext returns the
// error of ctx, and the message was not accepted. If the call was waiting for Start, the error says
// so, and wraps the error of ctx.
func (s *StreamPool) AddContext(ctx context.Context, id string, data []byte) error {
	return s.add(ctx, id, &outbox.Message{ID: id, Data: data})
}

// Deliver is like AddContext, but waits for the outcome and returns it: nil if the message was
// written, or else the reason why not. The WithUndelivered hook is not called for that message.
// Written means that the system took every byte; only the peer can say that it has read them.
//
// If ctx ends first, Deliver returns the error of ctx, and the outcome is reported later, as for any
// other message. If ctx ends before the message was accepted, for example while the outbox is full,
// the error also wraps ErrNotAccepted. Then the message has no outcome, and may be pushed again.
//
// With [WithMailbox], Deliver does not wait for an id that is not connected. It returns ErrKept as
// soon as the message is in the mailbox. If the message is not written later, the WithUndelivered
// hook is called. Only AddFunc also reports that such a message was written.
//
// Before Start, nothing is written, so Deliver waits for Start. If ctx ends during that wait, the
// error says that Start has not been called, and wraps the error of ctx.
func (s *StreamPool) Deliver(ctx context.Context, id string, data []byte) error {
	m := &outbox.Message{ID: id, Data: data}
	wait := m.Await()
	if err := s.add(ctx, id, m); ctx != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ErrNotAccepted, err)
	} else if err != nil {
		return err
	}
	err := wait(ctx)
	if err != nil && err == ctx.Err() && !s.conns.group.Line.Opened() {
		err = notStarted(err)
	}
	return err
}

// AddFunc is like Add, but also calls outcome with the outcome of the message: nil if it was
// written, or else the reason why not. The WithUndelivered hook is not called for that message. A
// message in the mailbox has its outcome when it leaves the mailbox. If AddFunc returns an error,
// outcome is not called; otherwise it is called once.
//
// The calls follow the same rules as the WithUndelivered hook: they run on a goroutine of the pool,
// one at a time and in order with the hooks. While more than WithBuffer calls wait, Add waits, and
// so does AddFunc. So do not call AddFunc in a hook or in outcome: it could wait for itself.
// AddFunc returns ErrInvalid for a nil outcome, and otherwise the same errors as Add.
func (s *StreamPool) AddFunc(id string, data []byte, outcome func(err error)) error {
	switch {
	case s == nil:
		return ErrNotRegistered
	case outcome == nil:
		return fmt.Errorf("%w: nil function", ErrInvalid)
	}
	m := &outbox.Message{ID: id, Data: data, Receipt: s.conns.group.Report.Receipt(id, outcome)}
	return s.add(context.Background(), id, m)
}

// Broadcast is like Add, for every id that is connected at this moment. It counts as one message
// for each of them. Ids with room in their outboxes get the message at once; then Broadcast waits
// for the other ids together, under the rules of Add. Before Start, Broadcast takes one place of
// WithBuffer, and ids that connect later do not get the message. It returns the same errors as Add,
// or the error of a [Cluster]; even after an error of the Cluster, the ids of this process get the
// message.
//
// So a peer that reads slowly holds up the caller for as long as it keeps reading. Inside a
// handler, which cannot read from its own peer while it waits, use BroadcastContext with a
// deadline.
func (s *StreamPool) Broadcast(data []byte) error {
	return s.BroadcastContext(context.Background(), data)
}

// BroadcastContext is like Broadcast, but waits no longer than ctx. If ctx ends first,
// BroadcastContext returns the error of ctx, and ids whose outboxes are still full do not get the
// message. If ctx has ended before the call, no id gets the message. If the call was waiting for
// Start, no id gets it either; the error says so, and wraps the error of ctx.
func (s *StreamPool) BroadcastContext(ctx context.Context, data []byte) error {
	return s.add(ctx, everybody, &outbox.Message{Data: data})
}

// Len returns how many ids have messages that wait for a writer. Each id counts once, however many
// messages wait for it; [Stats].Waiting counts the messages.
func (s *StreamPool) Len() int {
	if s == nil {
		return 0
	}
	return s.conns.group.Line.Len()
}

// Cap returns the value of [WithBuffer]: how many messages may be added before Start.
func (s *StreamPool) Cap() int {
	if s == nil {
		return 0
	}
	return s.conns.group.Buffer
}

// Name returns the name under which the pool was registered.
func (s *StreamPool) Name() string { return s.connections().Name() }

// connections returns nil for a nil s, as GetConn does for the same name.
func (s *StreamPool) connections() *ConnPool {
	if s == nil {
		return nil
	}
	return s.conns
}

// check refuses a message that add cannot take.
func (s *StreamPool) check(ctx context.Context, id string, data []byte) error {
	switch {
	case s == nil:
		return ErrNotRegistered
	case id == "":
		return fmt.Errorf("%w: empty id", ErrInvalid)
	case ctx == nil:
		return fmt.Errorf("%w: nil context", ErrInvalid)
	case len(data) > s.conns.group.Outbox:
		return fmt.Errorf("%w: %d bytes; WithOutbox is %d", ErrTooLarge, len(data), s.conns.group.Outbox)
	}
	return ctx.Err()
}

// everybody is the id that add gets for a Broadcast, whose message has no id.
const everybody = "*"

// add checks m, waits until there is room for reports and, before Start, takes a place. Then it
// puts m into the outbox of its id.
func (s *StreamPool) add(ctx context.Context, id string, m *outbox.Message) error {
	if err := s.check(ctx, id, m.Data); err != nil {
		return err
	}
	// A hook may wait for another process, so what comes from there does not wait for hooks.
	if err := s.conns.group.Room(ctx, !m.FromRemote); err != nil {
		return err
	}
	if err := s.place(ctx, m); err != nil {
		return err
	}
	if m.ID == "" {
		return s.spread(ctx, m)
	}
	for {
		r := s.conns.find(m.ID)
		if r == nil {
			if ok, err := s.conns.group.Refuse(m); ok {
				return err
			}
			r = s.conns.recipient(m.ID) // for the mailbox
		}
		if ok, err := r.Push(ctx, m); ok {
			return err
		}
	}
}

// place takes one of the places of WithBuffer before Start, or waits for Start. No place is given
// back: otherwise waiting callers could take the places of messages that Del has reported.
func (s *StreamPool) place(ctx context.Context, m *outbox.Message) error {
	if s.conns.group.Line.Opened() || s.places.Add(1) <= int64(s.conns.group.Buffer) {
		return nil
	}
	select {
	case <-s.conns.group.Line.Begun: // by Start, or by Shutdown, which Room reports
		return s.conns.group.Room(ctx, !m.FromRemote)
	case <-ctx.Done():
		return notStarted(ctx.Err())
	}
}

// notStarted explains why a context has ended while a call waited for Start: most often, Start was
// forgotten.
func notStarted(err error) error {
	return fmt.Errorf("gcpool: Start has not been called: %w", err)
}

// spread puts m into the outbox of every id that is connected, in this process and, through the
// cluster, in others. It passes over full outboxes, so that they hold up no other id, and comes
// back to them until none is left or ctx ends. It waits for the cluster last.
func (s *StreamPool) spread(ctx context.Context, m *outbox.Message) error {
	elsewhere := func(context.Context) error { return nil }
	if r := s.conns.group.Remote(); r != nil && !m.FromRemote {
		elsewhere = s.conns.group.BroadcastRemote(r, m.Data)
	}
	now, cancel := context.WithCancel(ctx)
	cancel()
	for recipients := s.conns.snapshot(); ; {
		full := recipients[:0]
		for _, r := range recipients {
			if _, err := r.Push(now, m); err == ErrClosed {
				return err
			} else if err != nil {
				full = append(full, r)
			}
		}
		if recipients = full; len(full) == 0 {
			return elsewhere(ctx)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// drain is what Start runs for each pool, on a goroutine that lives while there is something to
// write. While many connections stand in line, more such goroutines join it, up to GOMAXPROCS; a
// goroutine that a peer holds up is replaced.
func (s *StreamPool) drain(w *schedule.Writer) {
	for w.Next() { // the connection that is first in line; the last one goes to the end
		w.Write() // a piece of what waits for it
	}
}

func (s *StreamPool) shutdown(ctx context.Context) error {
	s.conns.group.Close()
	s.conns.group.Line.Open(s.drain)
	defer context.AfterFunc(ctx, s.conns.group.Cut)()
	return s.conns.group.Shutdown(ctx)
}
