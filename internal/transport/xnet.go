package transport

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"

	"github.com/nulijiabei/gcpool/internal/frame"
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

func (x *xnet) Send(frames []byte, progress func(n int)) (n int, err error) {
	for n < len(frames) {
		if n > 0 {
			progress(n)
		}
		start, end := frame.Bounds(frames[n:])
		if err = x.control(frames[n]&0xf, frames[n+start:n+end]); err != nil {
			x.said.Store(true) // nothing can follow what may be cut
			return n + 1, err
		}
		n += end
	}
	return n, nil
}

// control sends one frame of any opcode.
func (x *xnet) control(op byte, payload []byte) error {
	return guard(func() error { return codec.Send(x.ws, message{op, payload}) })
}

// message is what codec sends; unlike ws.Write it names its opcode.
type message struct {
	op      byte
	payload []byte
}

var codec = websocket.Codec{Marshal: func(v any) ([]byte, byte, error) {
	m := v.(message)
	return m.payload, m.op, nil
}}

func (x *xnet) WebSocket() bool                           { return true }
func (x *xnet) held() uint64                              { return 0 }
func (x *xnet) ping() error                               { return x.control(frame.Ping, nil) }
func (x *xnet) heard() (count uint32, tells bool)         { return 0, false }
func (x *xnet) progress() (wrote uint64, socket net.Conn) { return 0, nil }

// Left asks the request's context, which may also end by a deadline, with the server's
// BaseContext, or by an error of any read. Together with Closed it tells that the handler
// has returned.
func (x *xnet) Left() bool {
	return x.ws.IsServerConn() && x.ws.Request().Context().Err() != nil
}

// Closed, as closedHere does, sets the deadline that holds.
func (x *xnet) Closed() bool {
	if x.said.Load() {
		return errors.Is(guard(x.expire), net.ErrClosed)
	}
	return closedHere(x.ws)
}

// Goodbye sends the only close frame. x/net's Close would send another, so no write passes
// from here on.
func (x *xnet) Goodbye(s Status) (err error) {
	if !x.said.Swap(true) {
		err = x.control(frame.Close, s.payload())
		_ = guard(x.expire)
	}
	return err
}

func (x *xnet) expire() error { return x.ws.SetWriteDeadline(longAgo) }

func (x *xnet) Close(s Status, after func()) {
	defer after()
	defer close(x.out)
	if s.Code != 0 && !x.said.Load() {
		_ = guard(func() error {
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
	// again is how often a deadline is set once more that the application may have moved,
	// and agains how many times: an application that heeds none is left alone then.
	again  = 20 * time.Millisecond
	agains = 50
)

// Kill: x/net's Close waits for as long as a write is stuck, and sends status 1000 whatever
// was sent before. Hence the deadline in the past, which is set again until Close returns.
func (x *xnet) Kill() {
	_ = guard(x.expire)
	closed := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for range agains {
			select {
			case <-time.After(again):
				_ = guard(x.expire)
			case <-closed:
				return
			}
		}
	})
	_ = guard(x.ws.Close)
	close(closed)
	watch.Wait()
}
