package transport

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/net/websocket"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// xnet is a WebSocket of golang.org/x/net/websocket that is not under Upgrade. Its socket is out
// of reach. Each message is one Write of x/net, whose error does not say how much was written.
// x/net closes the socket when the handler returns.
type xnet struct {
	ws      *websocket.Conn
	goodbye atomic.Uint32 // the state of a pool's close frame: unsaid to killed
	out     chan struct{} // closed when Close has sent its close frame, or sends none
	dead    chan struct{} // closed by the first Kill
}

// The states of a pool's close frame.
//
//	unsaid -> saying  the close frame is being sent
//	unsaid -> over    a message may have been cut, so no frame can follow
//	saying -> over    the close frame is out, or may have been cut
//	any    -> killed  the socket is being closed
const (
	unsaid uint32 = iota
	saying
	over
	killed
)

func newXNet(ws *websocket.Conn) *xnet {
	return &xnet{ws: ws, out: make(chan struct{}), dead: make(chan struct{})}
}

// Send sends frames one by one. After an error nothing more can be sent, because a frame may have
// been cut.
func (x *xnet) Send(frames []byte, progress func(n int)) (n int, err error) {
	n, err = sendEach(frames, progress, func(op byte, payload []byte) (int, error) {
		return 1, x.send(op, payload)
	})
	if err != nil {
		x.goodbye.CompareAndSwap(unsaid, over)
	}
	return n, err
}

// send sends one frame. Unlike ws.Write, it takes the opcode.
func (x *xnet) send(op byte, payload []byte) error {
	codec := websocket.Codec{Marshal: func(any) ([]byte, byte, error) { return payload, op, nil }}
	return socket.Guard(func() error { return codec.Send(x.ws, nil) })
}

func (x *xnet) Kind() string     { return "WebSocket of x/net" }
func (x *xnet) WebSocket() bool  { return true }
func (x *xnet) Ping() error      { return x.send(frame.Ping, nil) }
func (x *xnet) Socket() net.Conn { return nil }
func (x *xnet) GoAway()          {}

// Left asks the request's context, which can also end with a deadline, with the server's
// BaseContext, or with an error of any read. Only Left and Closed together show that the handler
// has returned.
func (x *xnet) Left() bool {
	return x.ws.IsServerConn() && x.ws.Request().Context().Err() != nil
}

// Closed finds out by setting the write deadline that should hold now: the deadline of a close
// frame, or none.
func (x *xnet) Closed() bool {
	deadline := socket.Past
	switch x.goodbye.Load() {
	case unsaid:
		deadline = time.Time{}
	case saying:
		deadline = time.Now().Add(closeGrace)
	}
	err := socket.Guard(func() error { return x.ws.SetWriteDeadline(deadline) })
	if x.goodbye.Load() >= over { // perhaps only just now
		_ = socket.Guard(x.expire)
	}
	return errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) // net.Pipe, whichever side closed
}

// Goodbye sends the only close frame. x/net's Close would send another, so Goodbye makes all
// later writes fail.
func (x *xnet) Goodbye(s frame.Status) (err error) {
	if x.goodbye.CompareAndSwap(unsaid, saying) {
		err = x.send(frame.Close, s.Payload())
		x.goodbye.CompareAndSwap(saying, over)
		_ = socket.Guard(x.expire)
	}
	return err
}

func (x *xnet) expire() error { return x.ws.SetWriteDeadline(socket.Past) }

// Close sends the close frame, if there is one, and waits up to half of closeGrace for the
// handler to read everything up to the peer's answer, and to return, because then x/net closes
// the socket. If the socket were closed sooner, the peer might not see the close frame, and the
// handler would miss what the peer sent before it left.
func (x *xnet) Close(s frame.Status, after func()) {
	defer after()
	limit := func() error { return x.ws.SetWriteDeadline(time.Now().Add(closeGrace)) }
	waits := s.Code != 0
	if waits && x.goodbye.Load() == unsaid && socket.Guard(limit) == nil {
		waits = x.Goodbye(s) == nil
	}
	close(x.out)
	for start := time.Now(); waits && !x.Closed() && time.Since(start) < closeGrace/2; {
		select {
		case <-time.After(max(time.Millisecond, time.Since(start)/8)):
		case <-x.dead:
			waits = false
		}
	}
	x.Kill()
}

// Announce gives Close a moment to send its close frame. It does not send the frame itself,
// because Goodbye could wait for a write that is stuck.
func (x *xnet) Announce(frame.Status) {
	select {
	case <-x.out:
	case <-time.After(again):
	}
}

// Kill sets a deadline in the past first, because x/net's Close sends status 1000, whatever was
// sent before.
func (x *xnet) Kill() {
	if x.goodbye.Swap(killed) != killed {
		close(x.dead)
	}
	_ = socket.Guard(x.expire)
	kill(x.ws)
}
