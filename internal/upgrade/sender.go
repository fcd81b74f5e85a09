package upgrade

import (
	"net"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// A Sender is how one pool uses a Conn. Only one Send, Try or Ping may run at a time; the
// others may run beside them.
type Sender struct {
	conn  *Conn
	tried bool // Try has left the turn to Send
}

// NewSender returns a Sender over c.
func NewSender(c *Conn) *Sender { return &Sender{conn: c} }

// Send writes whole frames, or what Try has left of them, and tells progress between writes
// how much went. An error leaves a cut frame, after which nothing can follow.
func (s *Sender) Send(frames []byte, progress func(n int)) (n int, err error) {
	if !s.tried {
		if err = s.conn.acquire(pool); err != nil {
			return 0, err
		}
	}
	s.tried = false
	n, err = s.conn.out.write(s.conn.Conn, frames, progress)
	s.conn.release(pool, err)
	return n, err
}

// Try writes whole frames as far as the socket has room for them, and waits for nobody.
// Where that ends inside one, the turn stays the pool's until Send has written the rest.
func (s *Sender) Try(frames []byte) (n int) {
	c := s.conn
	c.mu.Lock()
	takes := c.closing.refusal(pool, &c.speech) == nil && c.turns.take(pool, c.speech.betweenMessages())
	c.mu.Unlock()
	if !takes {
		return 0
	}
	n = c.out.writeNow(c.Conn, frames[:min(len(frames), socket.PieceOf(c.Conn))])
	if s.tried = 0 < n && n < len(frames); !s.tried {
		c.release(pool, nil)
	}
	return n
}

// Held returns how much data the library has written, if it has left a message unfinished
// and is not writing; else 0.
func (s *Sender) Held() uint64 {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.conn.turns.turn == library || !s.conn.speech.parser.Open() {
		return 0
	}
	return s.conn.speech.bytes
}

// awaitMost is how long AwaitClose waits.
const awaitMost = 20 * time.Millisecond

// AwaitClose waits for the close to begin, if a pool is about to: a handler that returns
// sooner would leave nobody to read what still comes, and Drain nothing to do.
func (s *Sender) AwaitClose() {
	until := time.Now().Add(awaitMost)
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	for s.conn.closing.life == alive && s.conn.mu.wait(until) == nil {
	}
}

// Ping sends an empty ping. It never waits.
func (s *Sender) Ping() error { return s.conn.control(frame.Append(nil, frame.Ping, nil, false), pool) }

// Goodbye sends a close frame and leaves the connection open. It never waits.
func (s *Sender) Goodbye(status frame.Status) error { return s.conn.control(status.Frame(), pool) }

// Close is Conn.End.
func (s *Sender) Close(status frame.Status, after func()) { s.conn.End(status, after) }

// Kill is Conn.Kill.
func (s *Sender) Kill() { s.conn.Kill() }

// Left and Closed report whether the close has begun.
func (s *Sender) Left() bool   { return s.conn.Ending() }
func (s *Sender) Closed() bool { return s.conn.Ending() }

// WebSocket is true.
func (s *Sender) WebSocket() bool { return true }

// Socket returns the connection under c.
func (s *Sender) Socket() net.Conn { return s.conn.Conn }

// Reads counts what the peer has sent.
func (s *Sender) Reads() uint32 { return s.conn.in.reads.Load() }

// Wrote counts the bytes that went to the socket, whoever wrote them.
func (s *Sender) Wrote() uint64 { return s.conn.out.wrote.Load() }
