package gcpool

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// A Cluster carries messages to ids that are connected to another process; see [Pool.SetCluster].
// The pool calls its methods without holding a lock, from any number of goroutines at once. For the
// other direction, the Cluster calls a [Local].
type Cluster interface {
	// Changed says that id has connected to this process, has disconnected, or has a new
	// connection; [Local.Since] tells which of these is true by now. Calls for one id may overlap
	// and come in any order, but a call follows each change. The call for a new connection comes
	// before [ConnPool.Add] returns, so that a Cluster can tell which of several connections is the
	// newest. Changed should not block, because Add waits for it.
	Changed(pool, id string)

	// Forward takes messages for an id that is not connected to this process. It calls done once,
	// even after an error, with the outcome of each message:
	//
	//	nil              another process has written the message
	//	ErrNotConnected  it certainly was not written, because id is connected nowhere
	//	ErrMoved         it certainly was not written, because id has moved on
	//	any other error  an error of the Cluster
	//
	// If done gets fewer outcomes than there are messages, the rest ends with an error.
	//
	// If a message ends with ErrMoved, the pool forwards it again at once. So a Cluster that does
	// not know yet where id is should wait before it reports ErrMoved, and report ErrNotConnected
	// if it never finds out. Until done is called, the pool forwards no more messages for this id,
	// so they keep their order. The Cluster may read the batch until then. Forward may block, as a
	// write does; the messages of other ids go on meanwhile.
	Forward(pool, id string, batch [][]byte, done func(errs []error))

	// Broadcast sends data to all connections of other processes. It must not retain data, and
	// should not block for long, because [StreamPool.Broadcast] waits for it.
	Broadcast(pool string, data []byte) error
}

// ErrMoved, "gcpool: connected elsewhere", is for a [Cluster]. It is the outcome of a message that
// came from another process and was not written here, because its id has moved on. It wraps
// ErrNotConnected.
var ErrMoved = outcome.ErrMoved

// SetCluster makes c forward the messages for ids that are not connected here, in all pools,
// including pools that are registered later; nil ends that. Forwarded messages wait in memory until
// their outcomes are known: up to WithOutbox for one id, and 64 times as much for all ids of a
// pool. Beyond that, Add waits.
//
// SetCluster returns ErrRegistered if the pool already has a cluster, and ErrClosed after Shutdown.
// It calls Changed for each id that is connected, and does not block otherwise.
func (p *Pool) SetCluster(c Cluster) error {
	if err := p.check(); err != nil {
		return err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	if p.cluster != nil && c != nil {
		p.mu.Unlock()
		return fmt.Errorf("%w: the pool already has a cluster", ErrRegistered)
	}
	p.cluster = c
	streams := slices.Collect(maps.Values(p.pools))
	for _, s := range streams {
		s.conns.group.SetRemote(c)
	}
	p.mu.Unlock()
	for _, s := range streams {
		s.conns.join(c)
	}
	return nil
}

// A Local has the methods that a [Cluster] calls in this process. On a nil Local, and for the name
// of a pool that is not registered, Receive returns ErrNotRegistered, and the other methods do
// nothing. All methods are safe for concurrent use.
type Local struct{ pool *Pool }

// NewLocal returns the Local that a Cluster calls in the process of p. The Cluster needs it before
// SetCluster returns, because SetCluster already calls Changed.
func NewLocal(p *Pool) *Local { return &Local{p} }

func (l *Local) stream(pool string) *StreamPool {
	if l == nil {
		return nil
	}
	return l.pool.GetStream(pool)
}

// Receive accepts a batch of messages from another process for the connection of id. It copies the
// batch and does not wait: it takes as many messages as there is room for now, and returns their
// number. When the last of these has its outcome, the pool calls done with all outcomes, in order,
// on a goroutine of its own. If the peer may have a message, or a part of it, the outcome of that
// message never wraps ErrNotConnected, because the message must not be sent again.
//
// The error says why Receive did not take the rest: ErrMoved if id is not connected here, or if
// messages that were forwarded from here have not come back yet; ErrTooLarge for a message with
// more bytes than WithOutbox; [context.Canceled] while the outbox is full and the peer reads;
// ErrInvalid for a nil done; and ErrClosed after Shutdown.
//
// With an empty id, Receive is a Broadcast to the connections of this process. It may wait as
// Broadcast does, but not for hooks, and does not call done. Before Start, such a Broadcast takes a
// place of WithBuffer. Messages for one id take no place; WithOutbox bounds them.
func (l *Local) Receive(pool, id string, batch [][]byte, done func(errs []error)) (taken int, err error) {
	s := l.stream(pool)
	if s == nil {
		return 0, ErrNotRegistered
	}
	if id == "" {
		for i, data := range batch {
			m := &outbox.Message{Data: data, FromRemote: true}
			if err := s.add(context.Background(), everybody, m); err != nil {
				return i, err
			}
		}
		return len(batch), nil
	}
	if done == nil {
		return 0, fmt.Errorf("%w: nil function", ErrInvalid)
	}
	if r := s.conns.find(id); r != nil {
		return r.PushAll(batch, done)
	}
	if s.conns.absent() == ErrClosed {
		return 0, ErrClosed
	}
	return 0, ErrMoved
}

// Evict removes and closes conn if it is the connection of id, and reports whether it was. A
// WebSocket gets code 4500. A Cluster calls Evict when id is connected to another process; the
// messages that wait for id go there. Evict does not block.
func (l *Local) Evict(pool, id string, conn net.Conn) bool {
	r, present := l.stream(pool).connections().connection(id)
	return present != nil && present.Is(conn) && r.Detach(present, outcome.ErrMoved, frame.StatusReplaced)
}

// Appeared forwards the messages that wait in the mailbox for id, because id is now connected to
// another process. An empty id means all ids, for a Cluster that cannot tell which have appeared.
// Messages that come back to the mailbox keep the time that they have spent there. Appeared does
// not block.
func (l *Local) Appeared(pool, id string) {
	conns := l.stream(pool).connections()
	if id == "" {
		for _, r := range conns.snapshot() {
			r.Appeared()
		}
	} else if r := conns.find(id); r != nil {
		r.Appeared()
	}
}

// Since returns when the connection of id was added, or the zero time if id has none here. No two
// connections of a pool have the same time.
func (l *Local) Since(pool, id string) time.Time {
	conns := l.stream(pool).connections()
	if _, conn := conns.connection(id); conn != nil {
		return conns.group.Line.Time(conn.Since)
	}
	return time.Time{}
}

// join tells the recipients that a cluster has been set, or removed if remote is nil.
func (c *ConnPool) join(remote backlog.Remote) {
	for _, r := range c.snapshot() {
		if remote == nil {
			r.WithoutRemote(ErrNotConnected, false)
		} else if r.Conn() != nil {
			remote.Changed(c.group.Pool, r.ID())
		}
	}
}
