package outbox

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/transport"
	"golang.org/x/net/websocket"
)

// hijacked is what Upgrade gives x/net, as far as it takes here.
type hijacked struct {
	*httptest.ResponseRecorder
	conn *transport.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// upgraded returns a server's link to an upgraded WebSocket, the connection under
// it, and the peer's end.
func upgraded(t *testing.T) (*transport.Link, *transport.Conn, *websocket.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	links, conns := make(chan *transport.Link), make(chan *transport.Conn, 1)
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
			links <- transport.NewLink(ws, false)
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

// accept has b take a message, and returns the writer that it lends.
func accept(b *Box, text string) *writer {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acceptLocked(&Message{ID: b.ID, Data: []byte(text)}, true)
	return b.lendLocked()
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

// dismissed waits until nobody serves the ready queue any more.
func dismissed(t *testing.T, g *Group) {
	t.Helper()
	left := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.serving)
	}
	for end := time.Now().Add(20 * time.Second); left() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d writers have not been dismissed", left())
		}
	}
}

// TestLentWriterServesNobodyElse has another box wait in line while Add writes,
// whose connection takes nothing: that is for a goroutine.
func TestLentWriterServesNobodyElse(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("nothing is lent")
	}
	g := begun(Config{Buffer: 1000, Outbox: 1 << 20, WriteTimeout: time.Minute})
	g.limit = 1
	link, _, peer := upgraded(t)
	a, b := NewBox(g, "a", new(Past)), NewBox(g, "b", new(Past))
	stuck := &gate{free: make(chan bool)}
	a.Attach(link, Caller{})
	b.Attach(transport.NewLink(stuck, false), Caller{})
	time.Sleep(calm)
	w := accept(a, "1")
	if w == nil {
		t.Fatal("an idle pool lends no writer")
	}
	if accept(b, "2") != nil || accept(a, "3") != nil {
		t.Fatal("a busy pool lends a writer")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.once()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the caller of Add serves a peer that takes nothing")
	}
	receive(t, peer, "1", "3")
	stuck.free <- true
	dismissed(t, g)
}

// TestLentWriterFindsTheApplicationInsideAFrame: it must not wait for the rest.
func TestLentWriterFindsTheApplicationInsideAFrame(t *testing.T) {
	g := begun(Config{Buffer: 1000, Outbox: 1 << 20, WriteTimeout: time.Minute})
	g.limit = 1
	link, conn, peer := upgraded(t)
	a := NewBox(g, "a", new(Past))
	a.Attach(link, Caller{})
	application := frame.Append(nil, frame.Text, []byte("application"), false)
	if _, err := conn.Write(application[:5]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(calm)
	w := accept(a, "1")
	if w == nil {
		t.Fatal("an idle pool lends no writer")
	}
	w.once()
	accept(a, "2")
	if _, err := conn.Write(application[5:]); err != nil {
		t.Fatal(err)
	}
	receive(t, peer, "application", "1", "2")
	dismissed(t, g)
}

// begun returns a group without a registry, that writes.
func begun(c Config) *Group {
	g := NewGroup(c, func() []*Box { return nil }, func(*Box) {})
	g.Begin()
	return g
}
