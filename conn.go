package gcpool

import (
	"context"
	"fmt"
	"iter"
	"net"
	"slices"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/cursor"
	"github.com/nulijiabei/gcpool/internal/delivery"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/stripes"
)

// A ConnPool holds the connections of one pool, each under an id. An id is any non-empty string.
// Two ids are the same if their bytes are equal.
//
// All methods are safe for concurrent use. The methods of a nil *ConnPool return ErrNotRegistered,
// or the zero value.
type ConnPool struct {
	group *delivery.Group

	_          [64]byte // StreamPool.Add reads group and changes mu, so each has a cache line of its own
	mu         stripes.RWMutex
	recipients map[string]*delivery.Recipient
	list       []*delivery.Recipient // the same recipients, each at its Index
	past       owners.Past           // who added the connections of ids that have no recipient
}

// gate is how long Add waits for a slow WithPresence hook. The wait must end, because the hook
// itself may call Add.
const gate = time.Second

func newConnPool(c backlog.Config) *ConnPool {
	p := &ConnPool{recipients: make(map[string]*delivery.Recipient), past: owners.NewPast()}
	p.group = delivery.NewGroup(c, p.snapshot, p.drop)
	return p
}

// Add makes conn the connection of id. The messages that wait for id leave on conn, in order, and
// so do later ones. A *[websocket.Conn] gets each message as a frame: text or binary, as its
// PayloadType says when Add is called. A connection that [Conn] or [NewConn] returns gets text
// frames, or binary frames with [WithBinary]. Any other connection gets bare payloads, and nothing
// else may write to it. Go's own streams, over TCP, TLS or Unix sockets, get many payloads in one
// write; any other net.Conn gets each payload in a Write of its own. A client may see its WebSocket
// open before Add has run; until then, id is not connected.
//
// The newest connection wins. The pool closes the previous connection of id, with code 4500 if it
// is a WebSocket, and a later Del by its handler does nothing. There is one exception: a connection
// under [Upgrade] that its client has already closed replaces no other, in this process or, with a
// [Cluster], elsewhere, because the client may have connected again before its first handler called
// Add. Add closes such a connection, and its handler's Del does nothing. Adding the connection that
// id already has changes nothing; a connection of a non-comparable type always counts as new.
//
// A WebSocket may have several ids, in several pools. If it is closed for one id, it is closed for
// all, and the close frame of Shutdown may overtake messages that wait for another id. Without
// [Upgrade], each id that is removed may send a close frame, and a browser may then show 1006. Add
// any other connection under one id only; otherwise large messages may be interleaved. Without
// [Upgrade], a write deadline that the application sets on the connection also applies to the
// pool's writes.
//
// Call Del or DelConn when the handler ends. Otherwise the pool removes the connection about a
// second after it was closed. For a net.Conn that is neither Go's own nor x/net's nor under
// [Upgrade], such as a wrapper around a socket, the pool notices the close only when a write fails.
//
// Add returns ErrInvalid for an empty id or a nil conn, and ErrClosed after Shutdown. In neither
// case does it close conn. If the handler of a connection under Upgrade closes conn after
// ErrClosed, without a close frame, the peer gets code 1001, which asks it to come back.
//
// Add does not block, with two exceptions. It calls [Cluster].Changed, and the Enabled method of
// the logger's handler (see [WithLogger]). And if there is a WithPresence hook, Add waits for up to
// a second while more than WithBuffer calls wait for slow hooks.
func (c *ConnPool) Add(id string, conn net.Conn) error {
	if c == nil {
		return ErrNotRegistered
	}
	if id == "" {
		return fmt.Errorf("%w: empty id", ErrInvalid)
	}
	added := cursor.NewConnection(conn, c.group.Binary)
	if added == nil {
		return fmt.Errorf("%w: nil connection; Conn returns nil for a request that Upgrade does not serve", ErrInvalid)
	}
	if c.group.Presence != nil {
		ctx, cancel := context.WithTimeout(context.Background(), gate)
		_ = c.group.Room(ctx, true) // there is room, the time is up, or the pool is closed
		cancel()
	}
	if c.absent() == ErrClosed {
		added.GoAway()
		return ErrClosed
	}
	c.group.Report.AskLogger()
	who := owners.Goroutine()
	for {
		r := c.recipient(id)
		if ok, err := r.Attach(added, who); ok {
			if err != nil {
				added.GoAway()
				c.drop(id)
			} else if remote := c.group.Remote(); remote != nil {
				remote.Changed(c.group.Pool, id)
			}
			return err
		}
	}
}

// Get calls fn with the connection of id, in the calling goroutine. If fn returns an error, Get
// returns that error, and the pool removes and closes the connection; a WebSocket gets the same
// code as from Del. What waits for id goes to the mailbox, or is reported with ErrNotConnected,
// which wraps the error. Get returns ErrNotConnected if id has no connection, or ErrClosed instead
// after Shutdown, and ErrInvalid for an empty id or a nil fn.
func (c *ConnPool) Get(id string, fn func(conn net.Conn) error) error {
	if c == nil {
		return ErrNotRegistered
	}
	if id == "" || fn == nil {
		return fmt.Errorf("%w: empty id or nil function", ErrInvalid)
	}
	r, conn := c.connection(id)
	if conn == nil {
		return c.absent()
	}
	err := fn(conn.Conn)
	if err != nil {
		r.Detach(conn, outcome.Failure(err), c.group.Farewell())
	}
	return err
}

// Connected returns how many connections id has in this process: 1, or 0 if it has none. It
// does not block.
func (c *ConnPool) Connected(id string) int {
	if _, conn := c.connection(id); conn != nil {
		return 1
	}
	return 0
}

// Len returns how many ids are connected.
func (c *ConnPool) Len() int {
	if c == nil {
		return 0
	}
	return c.group.Connected()
}

// All returns the ids that are connected when the iteration begins, with their connections, in no
// particular order. The pool may change during the iteration; All leaves out an id that has gone.
func (c *ConnPool) All() iter.Seq2[string, net.Conn] {
	return func(yield func(string, net.Conn) bool) {
		for _, r := range c.snapshot() {
			if conn := r.Conn(); conn != nil && !yield(r.ID(), conn.Conn) {
				return
			}
		}
	}
}

// Name returns the name under which the pool was registered.
func (c *ConnPool) Name() string {
	if c == nil {
		return ""
	}
	return c.group.Pool
}

// absent returns why an id has no connection.
func (c *ConnPool) absent() error {
	if c.group.Closed.Load() {
		return ErrClosed
	}
	return ErrNotConnected
}

// find returns the recipient of id, or nil if there is none.
func (c *ConnPool) find(id string) *delivery.Recipient {
	if c == nil {
		return nil
	}
	mu := c.mu.RLock()
	r := c.recipients[id]
	mu.RUnlock() // a defer here would add a twentieth to a StreamPool.Add
	return r
}

// connection returns the recipient of id and its connection, each nil if there is none.
func (c *ConnPool) connection(id string) (*delivery.Recipient, *cursor.Connection) {
	r := c.find(id)
	if r == nil {
		return nil, nil
	}
	return r, r.Conn()
}

// recipient returns the recipient of id, and creates it if there is none.
func (c *ConnPool) recipient(id string) *delivery.Recipient {
	defer c.group.Beat()
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.recipients[id]
	if r == nil {
		r = delivery.NewRecipient(&c.group.Shared, id, c.past.Take(id))
		*r.Index() = int32(len(c.list))
		c.recipients[r.ID()] = r
		c.list = append(c.list, r)
	}
	return r
}

// drop forgets id if it has no connection and nothing waits for it.
func (c *ConnPool) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.recipients[id]
	if r == nil {
		return
	}
	owners, retired := r.Retire()
	if !retired {
		return
	}
	delete(c.recipients, id)
	c.past.Put(id, owners)
	last := len(c.list) - 1
	moved := c.list[last]
	c.list[*r.Index()], *moved.Index() = moved, *r.Index()
	c.list = slices.Delete(c.list, last, last+1)
}

// snapshot returns all recipients.
func (c *ConnPool) snapshot() []*delivery.Recipient {
	if c == nil {
		return nil
	}
	mu := c.mu.RLock()
	defer mu.RUnlock()
	return slices.Clone(c.list)
}
