package gcpool

import (
	"maps"
	"net"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool/internal/delivery"
	"github.com/nulijiabei/gcpool/internal/outcome"
)

// A Cluster carries messages to ids that are connected to another process; see
// [Pool.SetCluster]. The pool calls it without locks, from any number of
// goroutines at once. The other direction is [StreamPool.Receive],
// [ConnPool.Evict] and [ConnPool.Appeared].
type Cluster interface {
	// Changed says that id has come, has gone, or has a new connection here;
	// [ConnPool.Get] tells which is true by now. Calls for one id may overlap and
	// come in any order, but each change is followed by one: that of a connection
	// which comes before its [ConnPool.Add] returns, so that which is the newest of
	// several is told right. It should not block, for Add waits for it.
	Changed(pool, id string)

	// Forward takes messages for an id that is not connected here, and calls done
	// once, also after an error, with what became of each: nil if it was written
	// elsewhere; ErrNotConnected if it certainly was not, since nobody has the id;
	// ErrMoved if it was not for the id has moved on, and is to be forwarded once
	// more, with all behind it; or an error of the Cluster's own. No more for this
	// id come until then, so that they keep their order. The batch is the
	// Cluster's until done, to read. Forward may block, as a write does; meanwhile
	// others go on, each on one more goroutine.
	Forward(pool, id string, batch [][]byte, done func(errs []error))

	// Broadcast sends data to all connections elsewhere, and does not keep it. It
	// should not block for long: [StreamPool.Broadcast] waits for it last, also before
	// Start.
	Broadcast(pool string, data []byte) error
}

// ErrMoved is for a [Cluster]: the outcome of a message that was received from
// elsewhere, and whose id was evicted before it was written. It wraps
// ErrNotConnected.
var ErrMoved = outcome.ErrMoved

// SetCluster has messages for ids that are not connected here forwarded by c,
// in the pools that are registered and those to come; nil ends that. What Add
// accepts for them waits in memory until their outcome is known, up to WithOutbox
// for one id and 64 times that for all; Add waits beyond. It returns ErrRegistered
// if there is another one, ErrClosed after Shutdown, and does not block but for
// Changed.
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
		return ErrRegistered
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

// Evict removes and closes conn, a WebSocket with status 4500, and reports true,
// if it is id's connection: for a [Cluster], since id is connected elsewhere
// now. What waits for id goes there. It does not block.
func (c *ConnPool) Evict(id string, conn net.Conn) bool {
	r, link := c.link(id)
	return link != nil && link.Is(conn) && r.Detach(link, outcome.ErrMoved)
}

// Appeared has what waits in the mailbox for id forwarded: for a [Cluster],
// since id is connected elsewhere now. With an empty id it is for all, since the
// Cluster cannot tell which are. What comes back to the mailbox keeps the time
// that it had there. It does not block.
func (c *ConnPool) Appeared(id string) {
	recipients := []*delivery.Recipient{c.find(id)}
	if id == "" {
		recipients = c.snapshot()
	}
	for _, r := range recipients {
		if r != nil {
			r.Appeared()
		}
	}
}

// Since returns when the connection of id was added, the zero time if id has none.
// No two connections of an id have the same time.
func (c *ConnPool) Since(id string) time.Time {
	if r := c.find(id); r != nil {
		_, since := r.Conn()
		return since
	}
	return time.Time{}
}

// join tells about a cluster that has been set, or left with nil.
func (c *ConnPool) join(remote delivery.Remote) {
	for _, r := range c.snapshot() {
		if remote == nil {
			r.WithoutRemote(ErrNotConnected, false)
		} else if link, _ := r.Conn(); link != nil {
			remote.Changed(c.group.Pool, r.ID)
		}
	}
}
