package gcpool

import (
	"fmt"
	"net"
	"unicode/utf8"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/owners"
)

// Del removes and closes the connection of id, and reports whether it did. A WebSocket gets code
// 1000, or 1001 once Shutdown has begun or, under [Upgrade], the server has ended the request. Del
// has no effect if id has no connection, or if the caller belongs to an earlier connection of id.
// To remove a user from any goroutine, use [ConnPool.Kick]. To remove one particular connection,
// use [ConnPool.DelConn].
//
// A handler's deferred Del must not remove the connection that has replaced its own. Therefore the
// goroutine that added a connection of id, and every goroutine that it started, can remove only
// that connection, now or later. Any other goroutine removes whatever connection id has; so does a
// function that time.AfterFunc or context.AfterFunc runs, even if the handler has set it up. A
// goroutine that adds connections for many users, such as a hub or an accept loop, should use
// DelConn: once it has added two connections of id, its own Del removes whatever connection id has,
// and a Del by a goroutine that it started removes none. If the pool calls the Close
// of a connection, and Close calls Del, then Del removes nothing if id has had an earlier
// connection, because that one may be closing; there, use DelConn or Kick.
//
// For each id, the pool remembers the goroutines that added its last 16 connections, and up to
// 1,024 older ones that have not called Del yet. Once an id has gone, the pool remembers only the
// last 64 of these goroutines, for at least the last 16,384 ids that have gone.
//
// What waits for id goes to the mailbox, or is reported with ErrDeleted. Del reads the caller's
// stack, which takes over 1 µs for each of its frames. Under [Upgrade], Del does not wait. Without
// Upgrade, it waits until a WebSocket has got its close frame, for 20 ms at most, because the
// handler may be about to return.
func (c *ConnPool) Del(id string) bool {
	if c == nil {
		return false
	}
	caller := owners.WhoCalls()
	if r := c.find(id); r != nil {
		status := c.group.Farewell()
		if removed, done := r.Remove(caller, status); removed != nil {
			removed.Announce(status)
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

// Kick removes and closes the connection of id, whichever goroutine calls it, and returns how many
// connections it has closed: 1, or 0 if id is not connected to this process. The peer of a
// WebSocket gets code and reason in the close frame (RFC 6455 section 5.5.1). What waits for id
// goes to the mailbox, or is reported with ErrDeleted. Kick waits as Del does.
//
// Kick returns ErrInvalid for an empty id; for any code but 1000 and 3000 to 4999, because
// the others belong to the protocol (RFC 6455 section 7.4); and for a reason that is longer than
// 123 bytes or is not UTF-8.
func (c *ConnPool) Kick(id string, code int, reason string) (int, error) {
	switch {
	case c == nil:
		return 0, ErrNotRegistered
	case id == "":
		return 0, fmt.Errorf("%w: empty id", ErrInvalid)
	case code != 1000 && (code < 3000 || code > 4999):
		return 0, fmt.Errorf("%w: close code %d is neither 1000 nor from 3000 to 4999", ErrInvalid, code)
	case len(reason) > 123 || !utf8.ValidString(reason):
		return 0, fmt.Errorf("%w: close reason longer than 123 bytes, or not UTF-8", ErrInvalid)
	}
	if r := c.find(id); r != nil {
		status := frame.Status{Code: code, Reason: reason}
		if removed, _ := r.Remove(owners.Caller{}, status); removed != nil {
			removed.Announce(status)
			return 1, nil
		}
	}
	return 0, nil
}

// DelConn removes and closes conn if it is the connection of id, and reports whether it was. What
// waits for id goes to the mailbox, or is reported with ErrDeleted. DelConn waits as Del does.
func (c *ConnPool) DelConn(id string, conn net.Conn) bool {
	r, present := c.connection(id)
	if present == nil || !present.Is(conn) {
		return false
	}
	status := c.group.Farewell()
	if !r.Detach(present, ErrDeleted, status) {
		return false
	}
	present.Announce(status)
	return true
}
