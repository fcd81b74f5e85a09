package upgrade

import (
	"net"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// A Sender sends a pool's frames over a Conn. Only one Send, Try or Ping may run at a time;
// the other methods may run beside them.
type Sender struct {
	conn  *Conn
	tried bool // Try has left the turn to Send
}

// NewSender returns a Sender over c.
func NewSender(c *Conn) *Sender { return &Sender{conn: c} }

// Send writes whole frames, or the rest that Try has left, and tells progress between writes
// how much has gone. Nothing can follow an error, because it may have cut a frame.
func (s *Sender) Send(frames []byte, progress func(n int)) (n int, err error) {
	if !s.tried {
		if err = s.conn.acquire(pool); err != nil {
			return 0, err
		}
	}
	s.tried = false
	n, err = socket.WritePieces(s.conn.Conn, frames, &s.conn.wrote, progress)
	s.conn.release(pool, err)
	return n, err
}

// Try writes whole frames as far as the socket has room for them, and does not wait. If it
// stops inside a frame, the pool keeps the turn until Send has written the rest.
func (s *Sender) Try(frames []byte) (n int) {
	c := s.conn
	c.mu.Lock()
	takes := c.closing.refusal(pool, &c.speech) == nil && c.turns.take(pool, c.speech.betweenMessages())
	c.mu.Unlock()
	if !takes {
		return 0
	}
	n = socket.WriteNow(c.Conn, frames[:min(len(frames), socket.PieceOf(c.Conn))])
	c.wrote.Add(uint64(n))
	if s.tried = 0 < n && n < len(frames); !s.tried {
		c.release(pool, nil)
	}
	return n
}

// Held reports whether the library has left a message open and is not writing now.
func (s *Sender) Held() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.conn.turns.turn != library && s.conn.speech.parser.Open()
}

// Same reports whether s and o send over the same Conn.
func (s *Sender) Same(o *Sender) bool { return s.conn == o.conn }

// Due reports whether control frames wait for the end of a frame.
func (s *Sender) Due() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return len(s.conn.turns.due) > 0
}

// Ping sends an empty ping. It never waits.
func (s *Sender) Ping() error { return s.conn.control(frame.Append(nil, frame.Ping, nil, false), pool) }

// Goodbye sends a close frame and leaves the connection open. It never waits.
func (s *Sender) Goodbye(status frame.Status) error { return s.conn.control(status.Frame(), pool) }

// Close begins the close, as Conn.End does. If the handler has already returned, Close drops
// what the peer sends, for about a second at most.
func (s *Sender) Close(status frame.Status, after func()) {
	s.conn.End(status, after)
	s.conn.Drain(false)
}

// Announce sends the close frame of a Close that is about to begin. If the handler returned
// sooner, it might close with a status of its own. Announce never waits.
func (s *Sender) Announce(status frame.Status) { _ = s.Goodbye(status) }

// Kill closes the socket at once, as Conn.Kill does.
func (s *Sender) Kill() { s.conn.Kill() }

// GoAway makes Conn.Close tell the peer to come back.
func (s *Sender) GoAway() { s.conn.update(func(now *closing) { now.away = true }) }

// Left and Closed report whether the close has begun.
func (s *Sender) Left() bool   { return s.conn.Ending() }
func (s *Sender) Closed() bool { return s.conn.Ending() }

// Kind and WebSocket are for package transport: a Sender can ping and say goodbye.
func (s *Sender) Kind() string    { return "WebSocket under Upgrade" }
func (s *Sender) WebSocket() bool { return true }

// Socket returns the connection under the Conn.
func (s *Sender) Socket() net.Conn { return s.conn.Conn }

// Reads counts the reads that have brought something from the peer.
func (s *Sender) Reads() uint32 { return s.conn.reads.Load() }

// Wrote counts the bytes that have gone to the socket, whoever wrote them, without control frames.
func (s *Sender) Wrote() uint64 { return s.conn.wrote.Load() }
