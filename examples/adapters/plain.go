package adapters

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// A plainConn is a connection of a server that can use neither Upgrade nor NewConn, such as Fiber's
// own websocket package or nbio's engine; here it is one of gobwas/ws. To the pool it is an
// ordinary net.Conn: the pool calls Write once for each message. Without Upgrade you lose this:
//
//   - Batches. Each message is a system call, and the pool sees a peer's progress only
//     message by message.
//   - Pings. Only a write that takes longer than WithWriteTimeout, TCP's keep-alive, or your
//     own pings find a dead peer.
//   - Close codes. The close frame always has the same code, here 1001, because the pool does
//     not say why it closes. A client cannot tell a takeover from a restart, and comes back.
//   - Cut messages. The pool reports a cut message as undelivered, and does not send it again.
//   - Cleanup. If a handler returns without Del or DelConn, its connection stays in the pool
//     until a write fails.
//
// The handler also writes, if only pongs, so it must hold the same lock as the pool's Write.
// Never add the socket itself: the pool would take it for a byte stream, and write payloads
// without frames.
type plainConn struct{ frames }

// Write sends p as one text frame.
func (c *plainConn) Write(p []byte) (int, error) {
	if _, err := c.frames.Write(ws.MustCompileFrame(ws.NewTextFrame(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// frames is a socket on which the handler and the pool write one whole frame at a time.
type frames struct {
	net.Conn
	mu  sync.Mutex // held for a frame
	cut bool       // the last frame was not written whole; the peer would take more bytes for its rest
}

func (f *frames) Write(frame []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut {
		return 0, net.ErrClosed
	}
	n, err = f.Conn.Write(frame)
	f.cut = err != nil
	return n, err
}

// Close sends a close frame, unless another frame is being written or was cut. It does not wait for
// the lock, because the pool also calls it while a Write is stuck.
func (f *frames) Close() error {
	if f.mu.TryLock() {
		if !f.cut && f.SetWriteDeadline(time.Now().Add(100*time.Millisecond)) == nil {
			f.Conn.Write(ws.CompiledCloseGoingAway)
		}
		f.cut = true // so that the reader does not answer the peer's close frame with a second one
		f.mu.Unlock()
	}
	return f.Conn.Close()
}

// Plain serves a WebSocket on an accepted connection, with github.com/gobwas/ws.
func (s *Server) Plain(socket net.Conn) {
	defer socket.Close()
	socket.SetDeadline(time.Now().Add(10 * time.Second))
	id, err := s.upgradePlain(socket)
	if err != nil {
		return // upgradePlain has sent the error
	}
	socket.SetDeadline(time.Time{})
	conn := &plainConn{frames{Conn: socket}}
	if s.Conns.Add(id, conn) == nil {
		defer s.Conns.DelConn(id, conn)
		defer socket.Close() // runs before DelConn: the reader has answered the peer's close frame
		echoGobwas(&conn.frames)
	}
}

// upgradePlain does the handshake. It puts the Host and the headers into an http.Request, because
// UserOf and pages decide by a request.
func (s *Server) upgradePlain(socket net.Conn) (id string, err error) {
	r := &http.Request{Header: make(http.Header)}
	upgrader := ws.Upgrader{
		OnHost:   func(host []byte) error { r.Host = string(host); return nil },
		OnHeader: func(name, value []byte) error { r.Header.Add(string(name), string(value)); return nil },
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			if id = s.UserOf(r); id == "" || !pages.Check(r) {
				return nil, ws.RejectConnectionError(ws.RejectionStatus(http.StatusForbidden))
			}
			return nil, nil
		},
	}
	_, err = upgrader.Upgrade(socket)
	return id, err
}
