package cursor

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/report"
	"github.com/nulijiabei/gcpool/internal/schedule"
	"github.com/nulijiabei/gcpool/internal/upgrade"
	"golang.org/x/net/websocket"
)

// An id is a cursor with its backlog.
type id struct {
	Cursor
	backlog.Backlog
}

func newID(s *backlog.Shared) *id {
	i := new(id)
	i.Backlog.Init(s, "a")
	i.Cursor = New(&i.Backlog, nil)
	return i
}

// accept accepts a message, and returns the write that the caller must make.
func (i *id) accept(data string) (write func()) {
	i.Lock()
	defer i.Unlock()
	m := &outbox.Message{ID: "a", Data: []byte(data)}
	i.Accept(m, i.Full(m))
	return i.InlineLocked()
}

func (i *id) push(data string) {
	if write := i.accept(data); write != nil {
		write()
	} else {
		i.Shared.Mailbox.Fit(len(data))
	}
}

func (i *id) attach(conn *Connection) { i.Attach(conn, 0) }

func (i *id) present() *Connection {
	i.Lock()
	defer i.Unlock()
	conn, _ := i.ConnLocked()
	return conn
}

// mail returns how many messages are in the mailbox, and how many bytes of payload.
func (i *id) mail() [2]int {
	n := i.Mail()
	return [2]int{n.Messages, n.Bytes}
}

// shared returns the state that all ids share, without a registry.
func shared(c backlog.Config) *backlog.Shared {
	c.Hooks, c.Outbox = report.Hooks{Buffer: 1000}, max(c.Outbox, 1<<20)
	s := new(backlog.Shared)
	s.Init(c, func(string) {})
	return s
}

// begun returns the same as shared, with an open line.
func begun(c backlog.Config) *backlog.Shared {
	s := shared(c)
	s.Line.Open(drain)
	return s
}

func drain(w *schedule.Writer) {
	for w.Next() {
		w.Write()
	}
}

func receive(t *testing.T, peer *websocket.Conn, all ...string) {
	t.Helper()
	for _, want := range all {
		var got string
		if err := websocket.Message.Receive(peer, &got); err != nil || got != want {
			t.Fatalf("received %q, %v, want %q", got, err, want)
		}
	}
}

// dismissed waits until no writer is left.
func dismissed(t *testing.T, s *backlog.Shared) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !s.Tasks.None(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("writers are left")
		}
	}
}

// upgraded returns the server's link to an upgraded WebSocket, the
// connection under it, and the peer.
func upgraded(t *testing.T) (*Connection, *upgrade.Conn, *websocket.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	links, conns := make(chan *Connection), make(chan *upgrade.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		c := &upgrade.Conn{Conn: conn}
		websocket.Handler(func(ws *websocket.Conn) {
			conns <- c
			links <- NewConnection(ws, false)
			<-t.Context().Done()
		}).ServeHTTP(hijacked{httptest.NewRecorder(), c}, req.WithContext(context.WithValue(context.Background(), upgrade.ConnKey{}, c)))
	}()
	peer, err := websocket.Dial("ws://"+l.Addr().String()+"/", "", "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return <-links, <-conns, peer
}

// hijacked is as much of Upgrade's ResponseWriter as x/net needs here.
type hijacked struct {
	*httptest.ResponseRecorder
	conn *upgrade.Conn
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

// A gate is a connection that waits for a signal in each write.
type gate struct {
	sleepy
	free chan bool
}

func (g *gate) Write(p []byte) (int, error) { <-g.free; return len(p), nil }
