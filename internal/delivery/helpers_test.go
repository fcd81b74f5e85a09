package delivery

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/cursor"
	"github.com/nulijiabei/gcpool/internal/schedule"
	"github.com/nulijiabei/gcpool/internal/transport"
	"golang.org/x/net/websocket"
)

// begun returns a group that has begun to write, without a registry.
func begun(c backlog.Config) *Group {
	g := newGroup(c)
	g.Line.Open(drain)
	return g
}

func newGroup(c backlog.Config) *Group {
	return NewGroup(c, func() []*Recipient { return nil }, func(string) {})
}

func drain(w *schedule.Writer) {
	for w.Next() {
		w.Write()
	}
}

func connOf(r *Recipient) *cursor.Connection {
	conn, _ := r.Conn()
	return conn
}

// dismissed waits until no writer is left.
func dismissed(t *testing.T, g *Group) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !g.Tasks.None(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("writers are left")
		}
	}
}

// upgraded returns a server's link to an upgraded WebSocket, the connection under
// it, and the peer's end.
func upgraded(t *testing.T) (*cursor.Connection, *transport.Conn, *websocket.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	links, conns := make(chan *cursor.Connection), make(chan *transport.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		c := &transport.Conn{Conn: conn}
		websocket.Handler(func(ws *websocket.Conn) {
			conns <- c
			links <- cursor.NewConnection(ws, false)
			<-t.Context().Done()
		}).ServeHTTP(hijacked{httptest.NewRecorder(), c}, req.WithContext(context.WithValue(context.Background(), transport.ConnKey{}, c)))
	}()
	peer, err := websocket.Dial("ws://"+l.Addr().String()+"/", "", "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return <-links, <-conns, peer
}

// hijacked is the part of Upgrade's ResponseWriter that x/net needs here.
type hijacked struct {
	*httptest.ResponseRecorder
	conn *transport.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// A sleepy connection takes d for each write.
type sleepy struct {
	net.Conn
	d time.Duration
}

func (s sleepy) Write(p []byte) (int, error)    { time.Sleep(s.d); return len(p), nil }
func (sleepy) Close() error                     { return nil }
func (sleepy) SetDeadline(time.Time) error      { return nil }
func (sleepy) SetWriteDeadline(time.Time) error { return nil }
