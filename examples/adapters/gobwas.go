package adapters

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// gobwasConn sends each Write as one frame, header and payload in one write to
// the socket, so that a pong of the reader's cannot come between the two. Its
// Close says goodbye unless a frame is under way, or was cut: what follows would
// be taken for the rest of it. It ends the reader first, or that would answer the
// peer's goodbye with a second one.
type gobwasConn struct {
	net.Conn
	busy atomic.Bool
}

func (c *gobwasConn) Write(p []byte) (int, error) {
	c.busy.Store(true)
	_, err := c.Conn.Write(ws.MustCompileFrame(ws.NewTextFrame(p)))
	c.busy.Store(err != nil)
	return whole(p, err)
}

func (c *gobwasConn) Close() error {
	c.SetReadDeadline(time.Now())
	if !c.busy.Load() && c.SetWriteDeadline(time.Now().Add(goodbye)) == nil {
		c.Conn.Write(ws.CompiledCloseGoingAway)
	}
	return c.Conn.Close()
}

// Gobwas serves WebSockets with github.com/gobwas/ws.
func (s *Server) Gobwas() http.Handler {
	upgrader := ws.HTTPUpgrader{Timeout: 5 * time.Second}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := s.admit(r)
		if !ok {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		socket, buffered, _, err := upgrader.Upgrade(r, w)
		if err != nil {
			return // it has answered
		}
		conn := &gobwasConn{Conn: socket}
		if s.Conns.Add(id, conn) != nil {
			socket.Close()
			return
		}
		defer s.Conns.DelConn(id, conn)
		defer socket.Close() // first: the reader has answered the peer's goodbye
		s.readGobwas(id, buffered.Reader, socket)
	})
}

// readGobwas reads messages until the connection ends. Pings are answered on
// the socket, past the adapter, which would make text frames of them.
func (s *Server) readGobwas(id string, from io.Reader, replies io.Writer) {
	control := wsutil.ControlFrameHandler(replies, ws.StateServerSide)
	reader := wsutil.Reader{
		Source: from, State: ws.StateServerSide, CheckUTF8: true,
		MaxFrameSize: messageMax, MaxMessageSize: messageMax, OnIntermediate: control,
	}
	for {
		header, err := reader.NextFrame()
		if err != nil {
			return
		}
		if header.OpCode.IsControl() {
			if control(header, &reader) != nil {
				return
			}
			continue
		}
		message, err := io.ReadAll(&reader)
		if err != nil {
			return
		}
		s.Received(id, message)
	}
}
