package cursor

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/transport"
)

// A Connection is what a cursor keeps about one connection. The backlog's lock guards it, except
// Since, which does not change once the cursor has the connection.
type Connection struct {
	transport.Link
	Since   time.Duration // when it was attached, on the line's clock
	life    life
	control byte          // the opcode of a control frame that is due, 0 if none is
	asking  atomic.Bool   // a goroutine is asking whether the connection has been closed
	used    time.Duration // when it last needed no ping: its peer was heard, written to, or pinged
	heard   time.Duration // when the peer was last heard
	ending  *ending       // &attached while the connection is attached
}

// NewConnection returns a Connection, or nil if conn is nil or a nil pointer; see
// transport.Link.Init.
func NewConnection(conn net.Conn, binary bool) *Connection {
	if c := (&Connection{ending: &attached}); c.Init(conn, binary) {
		return c
	}
	return nil
}

// An ending is why a connection was removed, and how to close it.
type ending struct {
	reason error // nil if it was replaced
	status frame.Status
}

// attached is the ending of all connections that have none yet. Nothing changes it.
var attached ending

// say makes a control frame due. It is written ahead of messages.
func (conn *Connection) say(op byte, now time.Duration) {
	conn.control, conn.used = op, now
	if op == frame.Close {
		conn.life = goodbye
	}
}

// kill closes conn at once, even if a write to it is under way.
func (conn *Connection) kill(s *backlog.Shared) {
	conn.life = closed
	s.Tasks.Go(conn.Kill)
}

// close closes conn on a goroutine of its own, because closing can take a while. Shutdown waits
// until the socket is closed, but not past Cut.
func (conn *Connection) close(s *backlog.Shared) {
	conn.life = closed
	s.Tasks.Begin()
	stop := context.AfterFunc(s.Over, func() {
		defer s.Tasks.End()
		conn.Kill()
	})
	go conn.Close(conn.ending.status, func() {
		if stop() {
			s.Tasks.End()
		}
	})
}
