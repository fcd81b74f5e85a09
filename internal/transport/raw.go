package transport

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// raw has the methods that all connections without frames share.
type raw struct{ conn net.Conn }

func (r *raw) Kind() string               { return "net.Conn" }
func (r *raw) WebSocket() bool            { return false }
func (r *raw) Goodbye(frame.Status) error { return errors.ErrUnsupported }
func (r *raw) Ping() error                { return errors.ErrUnsupported }
func (r *raw) Left() bool                 { return socket.Ended(r.conn) }
func (r *raw) Closed() bool               { return socket.Closed(r.conn) }
func (r *raw) Announce(frame.Status)      {}
func (r *raw) Socket() net.Conn           { return r.conn }

// Close sends TLS's close_notify, which may block (tls.Conn.Close), and closes.
func (r *raw) Close(s frame.Status, after func()) {
	if secure, ok := r.conn.(*tls.Conn); ok && s.Code != 0 {
		stuck := time.AfterFunc(closeGrace, r.Kill)
		_ = socket.Guard(secure.Close)
		stuck.Stop()
	}
	r.Kill()
	after()
}

// Kill sets a deadline and closes at the same time, because in a type of the application
// either call may wait for a write.
func (r *raw) Kill() {
	var expired sync.WaitGroup
	expired.Go(func() { _ = socket.Guard(func() error { return r.conn.SetWriteDeadline(socket.Past) }) })
	socket.Close(r.conn)
	expired.Wait()
}
