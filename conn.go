package gcpool

import (
	"context"
	"fmt"
	"iter"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool/internal/delivery"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// A ConnPool holds the connections of one pool, each under an id. An id is any
// non-empty string; ids are compared byte by byte.
//
// All methods may be called from any number of goroutines at once. Those of a
// nil *ConnPool return ErrNotRegistered, or nothing.
type ConnPool struct {
	group *delivery.Group

	mu    sync.RWMutex
	boxes map[string]*delivery.Recipient
	list  []*delivery.Recipient // the same ones, each at its Index
	past  owners.Past           // who added the connections of ids that have no box
}

// gate is how long Add waits for a slow WithPresence hook. It has an end since
// the hook itself may call Add.
const gate = time.Second

func newConnPool(c delivery.Config) *ConnPool {
	p := &ConnPool{boxes: make(map[string]*delivery.Recipient)}
	p.group = delivery.NewGroup(c, p.snapshot, p.drop)
	return p
}

// Add makes conn the connection of id. What waits for id leaves on it, in order, and so does
// all that comes. A *[websocket.Conn] gets one frame a message, text or binary as its
// PayloadType says now; what [Conn] returns gets text, or binary with [WithBinary]. Any other
// connection gets bare payloads, and nobody else may write to it meanwhile.
//
// The newest connection wins. One that id had before is closed, a WebSocket with status
// 4500, and a Del by its handler does nothing. Adding the connection that id has already
// changes nothing; one whose type cannot be compared always counts as new. A WebSocket may
// have several ids, in several pools: closing it for one closes it for all, and the close
// frame of Shutdown may overtake what waits for another. Any other connection may have one
// id only, or the lines of large messages mix. Without [Upgrade], a write deadline that the
// application sets holds for the pool's writes, too.
//
// Add returns ErrInvalid for an empty id or a nil conn, and ErrClosed after Shutdown. Then it
// leaves conn alone; under Upgrade the peer is told to come back (1001) if the handler closes
// it without a close frame. Add blocks only for Cluster.Changed, and for at most a second
// while more events than WithBuffer wait for a slow WithPresence hook.
func (c *ConnPool) Add(id string, conn net.Conn) error {
	if c == nil {
		return ErrNotRegistered
	}
	if id == "" {
		return fmt.Errorf("%w: empty id", ErrInvalid)
	}
	link := delivery.NewConnection(conn, c.group.Binary)
	if link == nil {
		return fmt.Errorf("%w: nil connection, as Conn returns for a request that Upgrade does not serve", ErrInvalid)
	}
	if c.absent() == ErrClosed {
		transport.GoAway(conn)
		return ErrClosed
	}
	if c.group.Presence != nil {
		ctx, cancel := context.WithTimeout(context.Background(), gate)
		err := c.group.Room(ctx)
		if cancel(); err == ErrClosed {
			transport.GoAway(conn)
			return err
		}
	}
	c.group.AskLogger()
	caller := owners.WhoCalls()
	for {
		box := c.box(id)
		if ok, err := box.Attach(link, caller); ok {
			if err != nil {
				transport.GoAway(conn)
				c.drop(box)
			} else if r := c.group.Remote(); r != nil {
				r.Changed(c.group.Pool, id)
			}
			return err
		}
	}
}

// Get calls fn with the connection of id, in the calling goroutine. If fn
// returns an error, that connection is removed and closed, what waits for id is
// reported with the error, wrapped in ErrNotConnected, or goes to the mailbox,
// and Get returns the error. It returns ErrNotConnected if id has no connection,
// ErrClosed instead once Shutdown has begun, and ErrInvalid for an empty id or a
// nil fn.
func (c *ConnPool) Get(id string, fn func(conn net.Conn) error) error {
	if c == nil {
		return ErrNotRegistered
	}
	if id == "" || fn == nil {
		return fmt.Errorf("%w: empty id or nil function", ErrInvalid)
	}
	box, link := c.link(id)
	if link == nil {
		return c.absent()
	}
	err := fn(link.Conn)
	if err != nil {
		box.Detach(link, outcome.Failure(err))
	}
	return err
}

// Connected returns how many connections id has here: 1, or 0 if it is away. It does not
// block.
func (c *ConnPool) Connected(id string) int {
	if _, link := c.link(id); link != nil {
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

// All returns the ids that are connected when the iteration begins, with their
// connections, in no order. The pool may be changed meanwhile; an id that has
// gone by then is left out.
func (c *ConnPool) All() iter.Seq2[string, net.Conn] {
	return func(yield func(string, net.Conn) bool) {
		for _, box := range c.snapshot() {
			if link, _ := box.Conn(); link != nil && !yield(box.ID, link.Conn) {
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
	select {
	case <-c.group.Done():
		return ErrClosed
	default:
		return ErrNotConnected
	}
}

// find returns the box of id, nil if there is none.
func (c *ConnPool) find(id string) *delivery.Recipient {
	if c == nil {
		return nil
	}
	c.mu.RLock()
	box := c.boxes[id]
	c.mu.RUnlock() // a defer here takes a twentieth of a StreamPool.Add
	return box
}

// link returns the connection of id and its box, nil if there is none.
func (c *ConnPool) link(id string) (*delivery.Recipient, *delivery.Connection) {
	box := c.find(id)
	if box == nil {
		return nil, nil
	}
	link, _ := box.Conn()
	return box, link
}

// box returns the box of id, a new one if need be.
func (c *ConnPool) box(id string) *delivery.Recipient {
	defer c.group.Beat()
	c.mu.Lock()
	defer c.mu.Unlock()
	box := c.boxes[id]
	if box == nil {
		box = delivery.NewRecipient(c.group, id, c.past.Take(id))
		box.Index = len(c.list)
		c.boxes[box.ID] = box
		c.list = append(c.list, box)
	}
	return box
}

// drop forgets a box that has no connection and nothing that waits.
func (c *ConnPool) drop(box *delivery.Recipient) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.boxes[box.ID] != box {
		return
	}
	owners, retired := box.Retire()
	if !retired {
		return
	}
	delete(c.boxes, box.ID)
	c.past.Put(box.ID, owners)
	last := len(c.list) - 1
	moved := c.list[last]
	c.list[box.Index], moved.Index = moved, box.Index
	c.list[last] = nil
	c.list = c.list[:last]
}

// snapshot returns all boxes.
func (c *ConnPool) snapshot() []*delivery.Recipient {
	if c == nil {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.list)
}
