package transport

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// xnet is a WebSocket of golang.org/x/net/websocket that is not under Upgrade. Its socket
// is out of reach: each message is one Write of x/net's, which tells of an error nothing
// but that there is one. x/net closes the socket as soon as the handler returns.
type xnet struct {
	ws   *websocket.Conn
	said atomic.Bool   // a close frame of the pool's is out, or none can be
	out  chan struct{} // closed when the pool's close is over
}

func newXNet(ws *websocket.Conn) *xnet { return &xnet{ws: ws, out: make(chan struct{})} }

// Send: after an error nothing can follow what may be cut.
func (x *xnet) Send(frames []byte, progress func(n int)) (n int, err error) {
	n, err = sendEach(frames, progress, func(op byte, payload []byte) (int, error) {
		return 1, x.send(op, payload)
	})
	if err != nil {
		x.said.Store(true)
	}
	return n, err
}

// send sends one frame. Unlike ws.Write it names the opcode.
func (x *xnet) send(op byte, payload []byte) error {
	codec := websocket.Codec{Marshal: func(any) ([]byte, byte, error) { return payload, op, nil }}
	return socket.Guard(func() error { return codec.Send(x.ws, nil) })
}

func (x *xnet) WebSocket() bool  { return true }
func (x *xnet) Ping() error      { return x.send(frame.Ping, nil) }
func (x *xnet) Socket() net.Conn { return nil }

// Left asks the request's context, which may also end by a deadline, with the server's
// BaseContext, or by an error of any read. Together with Closed it tells that the handler
// has returned.
func (x *xnet) Left() bool {
	return x.ws.IsServerConn() && x.ws.Request().Context().Err() != nil
}

// Closed, as socket.Closed does, sets the deadline that holds.
func (x *xnet) Closed() bool {
	if x.said.Load() {
		return errors.Is(socket.Guard(x.expire), net.ErrClosed)
	}
	return socket.Closed(x.ws)
}

// Goodbye sends the only close frame. x/net's Close would send another, so no write passes
// from here on.
func (x *xnet) Goodbye(s Status) (err error) {
	if !x.said.Swap(true) {
		err = x.send(frame.Close, s.Payload())
		_ = socket.Guard(x.expire)
	}
	return err
}

func (x *xnet) expire() error { return x.ws.SetWriteDeadline(socket.Past) }

func (x *xnet) Close(s Status, after func()) {
	defer after()
	defer close(x.out)
	if s.Code != 0 && !x.said.Load() {
		_ = socket.Guard(func() error {
			if err := x.ws.SetWriteDeadline(time.Now().Add(closeGrace)); err != nil {
				return err
			}
			return x.Goodbye(s)
		})
	}
	x.Kill()
}

// AwaitClose gives the close frame a moment, for the handler may be about to return.
func (x *xnet) AwaitClose() {
	select {
	case <-x.out:
	case <-time.After(again):
	}
}

const (
	closeGrace = time.Second // what Close says takes no longer
	// again is how often a deadline is set once more that the application may have moved,
	// and agains how many times: an application that heeds none is left alone then.
	again  = 20 * time.Millisecond
	agains = 50
)

// Kill: x/net's Close waits for as long as a write is stuck, and sends status 1000 whatever
// was sent before. Hence the deadline in the past, which is set again until Close returns.
func (x *xnet) Kill() {
	_ = socket.Guard(x.expire)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = socket.Guard(x.ws.Close)
	}()
	for range agains {
		select {
		case <-closed:
			return
		case <-time.After(again):
			_ = socket.Guard(x.expire)
		}
	}
	<-closed
}
