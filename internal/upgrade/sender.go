package upgrade

import (
	"net"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// A Sender is a Conn as a pool uses it: it sends the pool's frames. Only one Send, Try, Rest or
// Ping may run at a time; the other methods may be called concurrently with them.
type Sender struct{ *Conn }

// Send writes whole frames. Between writes it calls progress with the number of bytes written so
// far. After an error nothing more can be sent, because a frame may have been cut.
func (s Sender) Send(frames []byte, progress func(n int)) (n int, err error) {
	if err = s.acquire(pool); err == nil {
		n, err = s.Rest(frames, progress)
	}
	return n, err
}

// Rest writes, as Send does, the bytes that Try has left.
func (s Sender) Rest(frames []byte, progress func(n int)) (n int, err error) {
	n, err = socket.WritePieces(s.Socket(), frames, &s.wrote, progress)
	s.release(pool, err)
	return n, err
}

// Try takes whole frames, writes as many bytes as the socket has room for, and does not wait. If
// it writes some bytes but not all, the pool keeps the turn until Rest has written the others.
func (s Sender) Try(frames []byte) (n int) {
	s.mu.Lock()
	takes := s.closing.refusal(pool, &s.speech) == nil && s.turns.take(pool, s.speech.betweenMessages())
	s.mu.Unlock()
	if !takes {
		return 0
	}
	n = socket.WriteNow(s.Socket(), frames[:min(len(frames), socket.PieceOf(s.Socket()))])
	s.wrote.Add(uint64(n))
	if n == 0 || n == len(frames) {
		s.release(pool, nil)
	}
	return n
}

// Waits reports which frames wait. held: messages wait because the library has begun a message,
// and is not writing it right now. due: control frames wait for the end of a frame.
func (s Sender) Waits() (held, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turns.turn != library && s.speech.parser.Open(), len(s.turns.due) > 0
}

// Ping sends an empty ping. It never waits.
func (s Sender) Ping() error { return s.control(frame.Append(nil, frame.Ping, nil, false), pool) }

// Goodbye sends a close frame and leaves the connection open. It never waits.
func (s Sender) Goodbye(status frame.Status) error {
	s.update(func(now *closing) { status = status.Final(now.goesAway()) })
	return s.control(status.Frame(), pool)
}

// Close begins the close, as Conn.End does.
func (s Sender) Close(status frame.Status, after func()) { s.End(status, after) }

// Announce sends the close frame of a Close that is about to begin. Otherwise the handler, if it
// returned first, might close with a status of its own. Announce never waits.
func (s Sender) Announce(status frame.Status) { _ = s.Goodbye(status) }

// GoAway makes Conn.Close tell the peer to come back.
func (s Sender) GoAway() { s.update(func(now *closing) { now.away = true }) }

// Left reports the same as Closed.
func (s Sender) Left() bool { return s.Closed() }

// Kind and WebSocket are for package transport: a Sender can ping and say goodbye.
func (s Sender) Kind() string    { return "WebSocket under Upgrade" }
func (s Sender) WebSocket() bool { return true }

// Socket returns the connection under the Conn.
func (s Sender) Socket() net.Conn { return s.Conn.Conn }

// Reads returns how many reads have brought something from the peer.
func (s Sender) Reads() uint32 { return s.reads.Load() }

// Wrote returns how many bytes the library and pools have written to the socket, not counting
// control frames.
func (s Sender) Wrote() uint64 { return s.wrote.Load() }
