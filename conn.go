package gcpool

import (
	"context"
	"fmt"
	"iter"
	"net"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// A ConnPool holds the connections of one pool, each under an id. An id is any
// non-empty string; ids are compared byte by byte.
//
// All methods may be called from any number of goroutines at once. Those of a
// nil *ConnPool return ErrNotRegistered, or nothing.
type ConnPool struct {
	group *outbox.Group

	mu    sync.RWMutex
	boxes map[string]*outbox.Box
	list  []*outbox.Box // the same ones, each at its Index
	past  outbox.Past   // who added the connections of ids that have no box
}

// gate is how long Add waits for a slow WithPresence hook. It has an end since
// the hook itself may call Add.
const gate = time.Second

func newConnPool(c outbox.Config) *ConnPool {
	p := &ConnPool{boxes: make(map[string]*outbox.Box)}
	p.group = outbox.NewGroup(c, p.snapshot, p.drop)
	return p
}

// Add makes conn the connection of id. What waits for id leaves on it, in
// order, and so does all that comes: as one text or binary frame a message for
// a *[websocket.Conn], as [websocket.Conn.PayloadType] says now; as bare
// payloads for any other. It must not be written to by others meanwhile, unless
// it is a WebSocket.
//
// The newest connection wins: one that id had before is closed, a WebSocket
// with status 4500, and a Del by its handler does nothing. Adding the
// connection that id has already changes nothing. A WebSocket may have several ids,
// in several pools: what closes it for one closes it for all, and the close frame of
// Shutdown may overtake what waits for another. Any other connection may have one,
// or the lines of large messages mix. One of a type that cannot be compared is never
// the same. A write deadline that the application has set holds for the pool as well.
//
// Add returns ErrInvalid for an empty id or a nil conn, ErrClosed after
// Shutdown, and leaves conn alone then; but under [Upgrade] the peer is told to come back
// (1001) when the handler closes it without a close frame of its own. It blocks only while more events than
// WithBuffer wait for a slow WithPresence hook, and no longer than a second, and for
// Cluster.Changed.
func (c *ConnPool) Add(id string, conn net.Conn) error {
	if c == nil {
		return ErrNotRegistered
	}
	if id == "" {
		return fmt.Errorf("%w: empty id", ErrInvalid)
	}
	link := transport.NewLink(conn, c.group.Binary)
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
	caller := outbox.WhoCalls()
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

// Del removes and closes the connection of id, a WebSocket with status 1000, and
// reports true. It reports false, and has no effect, if id has no connection, or if
// the caller may only speak for an earlier one. To remove a user whoever calls, use
// [ConnPool.Kick]; to remove one certain connection, [ConnPool.DelConn].
//
// A handler's deferred Del must not remove the connection that has replaced its own.
// So the goroutine that added a connection of id, and every goroutine that it started,
// removes that connection and no other, now or later. Any other goroutine removes the
// connection that id has. A goroutine that adds for many, such as a hub or an accept
// loop, should use DelConn: once it has added two connections of id, its Del removes
// whichever is there, and that of a goroutine it started removes none.
//
// The pool remembers the goroutines that added the last 16 connections of each id, and up
// to 1,024 older ones that have not called Del yet. Once id has gone it remembers the last
// 64, for at least the 16,384 ids that went last.
//
// What waits for id goes to the mailbox, or is reported with ErrDeleted. Del reads the
// caller's stack, which takes about 5 µs. For a WebSocket it waits for the close, because
// its handler may be about to return: 20 ms at most, and under [Upgrade] no longer than a
// write that is under way.
func (c *ConnPool) Del(id string) bool {
	if c == nil {
		return false
	}
	c.mu.RLock()
	box, known := c.boxes[id], c.past.Knows(id)
	c.mu.RUnlock()
	if box == nil && !known {
		return false
	}
	caller := outbox.WhoCalls()
	if box != nil {
		if removed, done := box.Del(caller); removed != nil {
			removed.AwaitClose()
			return true
		} else if done {
			return false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.past.Del(id, caller)
	return false
}

// Kick removes and closes the connection of id, whoever calls it, and returns how many
// it has closed: 1, or 0 if id is not connected. A WebSocket's peer is told code and
// reason in the close frame (RFC 6455 section 5.5.1). What waits for id goes to the
// mailbox, or is reported with ErrDeleted.
//
// Kick returns ErrInvalid for an empty id, for a code other than 1000 and 3000 to 4999,
// which are those that an application may send (RFC 6455 section 7.4), and for a reason
// of more than 123 bytes or that is not UTF-8. It waits as Del does.
func (c *ConnPool) Kick(id string, code int, reason string) (int, error) {
	switch {
	case c == nil:
		return 0, ErrNotRegistered
	case id == "":
		return 0, fmt.Errorf("%w: empty id", ErrInvalid)
	case code != 1000 && (code < 3000 || code > 4999):
		return 0, fmt.Errorf("%w: close code %d is not 1000, nor from 3000 to 4999", ErrInvalid, code)
	case len(reason) > 123 || !utf8.ValidString(reason):
		return 0, fmt.Errorf("%w: close reason of more than 123 bytes, or not UTF-8", ErrInvalid)
	}
	if box := c.find(id); box != nil {
		if removed := box.Kick(transport.Status{Code: code, Reason: reason}); removed != nil {
			removed.AwaitClose()
			return 1, nil
		}
	}
	return 0, nil
}

// DelConn removes and closes conn and reports true, if it is id's connection.
// What waits for id is treated as by Del, and it waits as Del does.
func (c *ConnPool) DelConn(id string, conn net.Conn) bool {
	box, link := c.link(id)
	if link == nil || !link.Is(conn) || !box.Detach(link, ErrDeleted) {
		return false
	}
	link.AwaitClose()
	return true
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
		box.Detach(link, outbox.Failure(err))
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
			if link := box.Link(); link != nil && !yield(box.ID, link.Conn) {
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
func (c *ConnPool) find(id string) *outbox.Box {
	if c == nil {
		return nil
	}
	c.mu.RLock()
	box := c.boxes[id]
	c.mu.RUnlock() // a defer here takes a twentieth of a StreamPool.Add
	return box
}

// link returns the connection of id and its box, nil if there is none.
func (c *ConnPool) link(id string) (*outbox.Box, *transport.Link) {
	box := c.find(id)
	if box == nil {
		return nil, nil
	}
	return box, box.Link()
}

// box returns the box of id, a new one if need be.
func (c *ConnPool) box(id string) *outbox.Box {
	defer c.group.Beat()
	c.mu.Lock()
	defer c.mu.Unlock()
	box := c.boxes[id]
	if box == nil {
		box = outbox.NewBox(c.group, id, &c.past)
		box.Index = len(c.list)
		c.boxes[id] = box
		c.list = append(c.list, box)
	}
	return box
}

// drop forgets a box that has no connection and nothing that waits.
func (c *ConnPool) drop(box *outbox.Box) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.boxes[box.ID] != box || !box.Retire() {
		return
	}
	delete(c.boxes, box.ID)
	c.past.Put(box)
	last := len(c.list) - 1
	moved := c.list[last]
	c.list[box.Index], moved.Index = moved, box.Index
	c.list[last] = nil
	c.list = c.list[:last]
}

// snapshot returns all boxes.
func (c *ConnPool) snapshot() []*outbox.Box {
	if c == nil {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clone(c.list)
}
