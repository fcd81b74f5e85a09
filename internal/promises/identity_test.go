package promises

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/internal/nettest"
	"golang.org/x/net/websocket"
)

// verbatim is the original README's handler. Before it returns, and
// so before its deferred Del, it calls leave.
func verbatim(pool *gcpool.Pool, leave func()) websocket.Handler {
	return func(ws *websocket.Conn) {
		id := ws.Request().FormValue("id")
		pool.GetConn("default").Add(id, ws)
		defer pool.GetConn("default").Del(id)
		defer leave()
		r := bufio.NewReader(ws)
		for {
			if _, err := r.ReadBytes('\n'); err != nil {
				return
			}
		}
	}
}

// late holds handlers back until the test lets them go, oldest first.
type late struct{ handlers chan chan struct{} }

func (l *late) leave() {
	free := make(chan struct{})
	l.handlers <- free
	<-free
}

func (l *late) letGo() { close(<-l.handlers) }

func TestReconnectsWhoseOldHandlersLeaveLateLoseNothing(t *testing.T) {
	both(t, testReconnectsWhoseOldHandlersLeaveLateLoseNothing)
}

func testReconnectsWhoseOldHandlersLeaveLateLoseNothing(t *testing.T, wrap wrapper) {
	var r reports
	p, conns, stream := started(t, gcpool.WithUndelivered(r.hook))
	old := &late{make(chan chan struct{}, 1000)}
	addr := serve(t, wrap, verbatim(p, old.leave))
	in := dial(t, addr, "id=alice")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	var before net.Conn
	const reconnects = 200
	left := 0
	for i := range reconnects {
		conns.Get("alice", func(c net.Conn) error { before = c; return nil })
		gone := in
		in = dial(t, addr, "id=alice")
		eventually(t, "taken over", func() bool {
			var now net.Conn
			conns.Get("alice", func(c net.Conn) error { now = c; return nil })
			return now != before
		})
		gone.Close()
		if i%3 > 0 { // a replaced handler leaves now, or together with the next
			for range i % 3 {
				old.letGo()
				left++
			}
		}
		want := fmt.Sprint("message ", i)
		if err := stream.Deliver(t.Context(), "alice", []byte(want)); err != nil {
			t.Fatalf("push %d: %v", i, err)
		}
		if got := lines(t, bufio.NewReader(in), 1)[0]; got != want {
			t.Fatalf("push %d: received %q", i, got)
		}
	}
	equal(t, "undelivered", r.take(t, nil), nil)
	if s := settled(t, p); s.Written != reconnects {
		t.Errorf("%d of %d were written", s.Written, reconnects)
	}
	in.Close()
	for ; left < 1+reconnects; left++ {
		old.letGo()
	}
	eventually(t, "left", func() bool { return conns.Len() == 0 })
}

func TestWhatWaitsFollowsToTheNewConnectionInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithUndelivered(r.hook))
		stuck := pipe(t, conns, "a")
		for i := range 100 {
			add(t, stream, "a", fmt.Sprint("message ", i))
			synctest.Wait()
		}
		stuck.Read(make([]byte, 3)) // cut inside "message 0", so the peer cannot have it whole
		start := time.Now()
		in := bufio.NewReader(pipe(t, conns, "a"))
		add(t, stream, "a", "message 100")
		for i := 1; i <= 100; i++ {
			if got := lines(t, in, 1)[0]; got != fmt.Sprint("message ", i) {
				t.Fatalf("got %q, want message %d", got, i)
			}
		}
		within(t, "taken over", start, 0, 50*time.Millisecond)
		synctest.Wait()
		equal(t, "undelivered", r.take(t, gcpool.ErrNotConnected), []string{"a message 0"})
		if _, err := stuck.Read(make([]byte, 1)); err == nil {
			t.Error("the old connection is still open")
		}
		if s := settled(t, p); s.Written != 100 || conns.Len() != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestTakeoverBetweenKindsOfConnections(t *testing.T) {
	both(t, testTakeoverBetweenKindsOfConnections)
}

func testTakeoverBetweenKindsOfConnections(t *testing.T, wrap wrapper) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		pipe(t, conns, "a")
		for i := range 10 {
			add(t, stream, "a", fmt.Sprint(i))
			synctest.Wait()
		}
		handler := verbatim(p, func() {})
		raw, _ := serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
			ws.PayloadType = websocket.BinaryFrame
			handler(ws)
		}))("id=a")
		in := bufio.NewReader(raw)
		for i := range 10 {
			if op, got, err := frame(in); op != 0x82 || got != fmt.Sprint(i, "\n") {
				t.Fatalf("got frame %x %q, %v; want binary %d", op, got, err, i)
			}
		}
	})
}

func TestTakenOverWebSocketIsToldSo(t *testing.T) { both(t, testTakenOverWebSocketIsToldSo) }

func testTakenOverWebSocketIsToldSo(t *testing.T, wrap wrapper) {
	p, conns, _ := started(t)
	addr := serve(t, wrap, verbatim(p, func() {}))
	first := dial(t, addr, "id=a")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	status := make(chan string, 1)
	go func() {
		f, err := first.NewFrameReader()
		if err != nil {
			status <- err.Error()
			return
		}
		buf := make([]byte, 10)
		n, _ := f.Read(buf)
		status <- fmt.Sprintf("%x %x", f.PayloadType(), buf[:n])
	}()
	dial(t, addr, "id=a")
	if got := <-status; got != "8 1194" {
		t.Errorf("the old connection got %s, want a close frame with status 4500", got)
	}
}

func TestManyAddsOfOneIDLeaveOne(t *testing.T) {
	_, conns, stream := started(t)
	var mu sync.Mutex
	var peers []net.Conn
	var wg sync.WaitGroup
	for range 300 {
		wg.Go(func() {
			peer := pipe(t, conns, "a")
			mu.Lock()
			defer mu.Unlock()
			peers = append(peers, peer)
		})
	}
	wg.Wait()
	if conns.Len() != 1 {
		t.Errorf("Len is %d", conns.Len())
	}
	add(t, stream, "a", "for the survivor")
	open := make(chan string, len(peers))
	for _, peer := range peers {
		wg.Go(func() {
			line, _ := bufio.NewReader(peer).ReadString('\n')
			open <- strings.TrimSuffix(line, "\n")
			if line != "" {
				conns.Del("a")
			}
		})
	}
	wg.Wait()
	close(open)
	var got []string
	for line := range open {
		if line != "" {
			got = append(got, line)
		}
	}
	equal(t, "received by all", got, []string{"for the survivor"})
}

// A slice is a connection whose value cannot be compared.
type slice []byte

func (slice) Read([]byte) (int, error)         { return 0, io.EOF }
func (slice) Write(p []byte) (int, error)      { return len(p), nil }
func (slice) Close() error                     { return nil }
func (slice) LocalAddr() net.Addr              { return nil }
func (slice) RemoteAddr() net.Addr             { return nil }
func (slice) SetDeadline(time.Time) error      { return nil }
func (slice) SetReadDeadline(time.Time) error  { return nil }
func (slice) SetWriteDeadline(time.Time) error { return nil }

// TestConnectionWithUncomparableInsides: a connection's type can be comparable while
// its value is not.
func TestConnectionWithUncomparableInsides(t *testing.T) {
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("Add panics: %v", v)
		}
	}()
	_, c, _ := started(t)
	conn := struct{ net.Conn }{slice{}}
	c.Add("a", conn)
	c.Add("a", conn)
}

// TestRawConnectionThatItsHandlerClosed: if a handler closes a raw connection without Del, a
// heartbeat removes it, where the system shows that it is closed.
func TestRawConnectionThatItsHandlerClosed(t *testing.T) {
	_, conns, _ := started(t, gcpool.WithHeartbeat(100*time.Millisecond))
	ours, _ := nettest.TCP(t)
	stays, _ := nettest.TCP(t)
	secure := tls.Client(func() net.Conn { c, _ := nettest.TCP(t); return c }(), &tls.Config{})
	for id, conn := range map[string]net.Conn{"gone": ours, "stays": stays, "tls": secure} {
		if err := conns.Add(id, conn); err != nil {
			t.Fatal(err)
		}
	}
	ours.Close()
	secure.NetConn().Close()
	eventually(t, "removed", func() bool { return conns.Connected("gone")+conns.Connected("tls") == 0 })
	if conns.Connected("stays") != 1 {
		t.Error("a connection that is open was removed")
	}
}

// TestOneConnectionByTwoNames: under Upgrade, x/net's connection and
// the Conn of its request count as one connection.
func TestOneConnectionByTwoNames(t *testing.T) {
	p, conns, _ := started(t)
	added := make(chan error, 4)
	url := serve(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		added <- conns.Add("a", ws)
		added <- conns.Add("a", gcpool.Conn(ws.Request()))
		if conns.Connected("a") != 1 || !conns.DelConn("a", gcpool.Conn(ws.Request())) {
			added <- errors.New("it is another one by its other name")
		}
		added <- nil
		io.Copy(io.Discard, ws)
	}))
	_, r := handshake(t, url, "", 0)
	if op, payload, err := frame(r); op != 0x88 || payload != "\x03\xe8" {
		t.Errorf("frame %x %q, %v; want a close frame with 1000", op, payload, err)
	}
	for range 3 {
		if err := <-added; err != nil {
			t.Error(err)
		}
	}
	if n := p.Stats()[0].Takeovers; n != 0 {
		t.Errorf("the connection counts as replaced by itself %d times", n)
	}
}

// asking is a library's wrapper whose NetConn calls code of the application.
type asking struct {
	net.Conn
	ask func()
}

func (a *asking) NetConn() net.Conn { a.ask(); return a.Conn }

// TestNoLockWhileAConnectionIsUnwrapped: NetConn may be code of the
// application, and may call the pool.
func TestNoLockWhileAConnectionIsUnwrapped(t *testing.T) {
	t.Parallel()
	_, conns, _ := started(t)
	done := make(chan bool)
	url := serve(t, gcpool.Upgrade, library(t, func(r *http.Request, conn net.Conn) {
		conns.Add("a", gcpool.Conn(r))
		wrapped := &asking{conn, func() { conns.Connected("a"); conns.Kick("a", 999, "") }}
		conns.Add("a", wrapped)
		conns.DelConn("b", wrapped)
		close(done)
		io.Copy(io.Discard, conn)
	}))
	handshake(t, url, "", 0)
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("Add hangs, because NetConn waits for a lock that Add holds")
	}
}
