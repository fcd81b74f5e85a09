package transport

import (
	"crypto/tls"
	"errors"
	"net"
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
func (r *raw) Closed() bool               { return r.Left() }
func (r *raw) Announce(frame.Status)      {}
func (r *raw) GoAway()                    {}
func (r *raw) Socket() net.Conn           { return r.conn }

// Close sends close_notify under TLS, which can block (tls.Conn.Close), and closes the
// connection.
func (r *raw) Close(s frame.Status, after func()) {
	if secure, ok := r.conn.(*tls.Conn); ok && s.Code != 0 {
		stuck := time.AfterFunc(closeGrace, r.Kill)
		_ = socket.Guard(secure.Close)
		stuck.Stop()
	}
	r.Kill()
	after()
}

func (r *raw) Kill() { kill(r.conn) }

const (
	// closeGrace is how long Close waits for the peer to take a close frame or close_notify.
	closeGrace = time.Second
	// again is how soon kill first repeats its deadline, because the application may have changed
	// it.
	again = 20 * time.Millisecond
)

// kill closes conn. Until that is done, it sets a write deadline in the past again and again:
// x/net's Close waits for a write that is stuck, and with a type of the application either call
// can wait for a write. The wait can last forever, so kill tries less and less often.
func kill(conn net.Conn) {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		socket.Close(conn)
	}()
	for start := time.Now(); ; {
		_ = socket.Guard(func() error { return conn.SetWriteDeadline(socket.Past) })
		select {
		case <-closed:
			return
		case <-time.After(max(again, time.Since(start)/64)):
		}
	}
}
