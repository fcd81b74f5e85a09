package libraries

import (
	"net"
	"net/http"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/olahol/melody"
)

// melodySocket wraps a melody session. melody itself reads from its
// connection and pings at its own intervals.
type melodySocket struct {
	session *melody.Session
	sent    chan struct{}
	ended   chan struct{}
}

// melodyHandler serves with melody, which calls all its handlers on the HTTP handler's
// goroutine.
func melodyHandler(deflate bool) func(h *host) http.Handler {
	return func(h *host) http.Handler { return serveMelody(h, deflate) }
}

func serveMelody(h *host, deflate bool) http.Handler {
	m := melody.New()
	m.Upgrader.EnableCompression = deflate
	m.Config.MaxMessageSize = 1 << 20
	m.Config.PingPeriod = 3 * time.Millisecond
	h.t.Cleanup(func() { // a melody handler that ends at the same time as Close waits forever
		h.mu.Lock()
		all := h.all
		h.mu.Unlock()
		for _, v := range all {
			select {
			case <-v.socket.(*melodySocket).ended:
			case <-time.After(patience):
				h.t.Error("a handler does not end")
			}
		}
		m.Close()
	})
	visitOf := func(s *melody.Session) *visit {
		v, _ := s.Get("visit")
		return v.(*visit)
	}
	m.HandleConnect(func(s *melody.Session) {
		socket := &melodySocket{session: s, sent: make(chan struct{}, 1), ended: make(chan struct{})}
		s.Set("visit", h.join(socket, s.Request))
	})
	message := func(s *melody.Session, p []byte) {
		if !h.receive(visitOf(s), p) {
			s.CloseWithMsg(melody.FormatCloseMessage(1000, ""))
		}
	}
	m.HandleMessage(message)
	m.HandleMessageBinary(message)
	m.HandleSentMessageBinary(func(s *melody.Session, _ []byte) { visitOf(s).socket.(*melodySocket).sent <- struct{}{} })
	m.HandleDisconnect(func(s *melody.Session) {
		v := visitOf(s)
		close(v.socket.(*melodySocket).ended)
		h.end(v)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.HandleRequest(w, r) })
}

func (s *melodySocket) conn() net.Conn                                { return gcpool.Conn(s.session.Request) }
func (s *melodySocket) close() error                                  { return s.session.Close() }
func (s *melodySocket) read(func(p []byte) bool)                      {}
func (s *melodySocket) ping([]byte) error                             { return errUnable }
func (s *melodySocket) begin([]byte) (func(tail []byte) error, error) { return nil, errUnable }

// write waits until the message has been sent, because melody drops
// messages that its queue of 256 has no room for.
func (s *melodySocket) write(p []byte, _ int) error {
	if err := s.session.WriteBinary(p); err != nil {
		return err
	}
	select {
	case <-s.sent:
		return nil
	case <-s.ended:
		return net.ErrClosed
	}
}
