package promises

import (
	"bufio"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// Only the operating system knows whether a peer is slow, so these tests use real sockets; a
// pipe has no buffer that could hide it. The tests mostly wait, so many run at once.

func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "16")
	os.Exit(m.Run())
}

// A line connects a pool and a peer whose operating system holds up to window bytes that the
// peer has not read, as far as the kind of socket allows a limit.
type line struct {
	kind    string // tcp, tls or unix
	upgrade bool   // a WebSocket under Upgrade, or else a raw connection
	window  int
}

func (l line) String() string {
	if l.upgrade {
		return "websocket over " + l.kind
	}
	return "raw " + l.kind
}

// slowLines returns lines to peers whose acknowledgements the operating system reports.
func slowLines(t *testing.T) (all []line) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("this system does not report what a peer has acknowledged")
	}
	for _, kind := range []string{"tcp", "tls", "unix"} {
		all = append(all, line{kind, true, 64 << 10}, line{kind, false, 64 << 10})
	}
	return all
}

// open adds a connection as "a". It returns the peer's end, and the
// connection under the pool's end.
func (l line) open(t *testing.T, conns *gcpool.ConnPool) (peer net.Conn, r *bufio.Reader, under net.Conn) {
	t.Helper()
	network, addr := "tcp", "127.0.0.1:0"
	if l.kind == "unix" {
		network, addr = "unix", filepath.Join(t.TempDir(), "s")
	}
	listener, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan net.Conn, 1)
	srv := httptest.NewUnstartedServer(nil)
	srv.Listener.Close()
	srv.Listener = &taking{listener, taken}
	var added atomic.Bool
	srv.Config.Handler = gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
		conns.Add("a", ws)
		added.Store(true)
		defer conns.Del("a")
		io.Copy(io.Discard, ws)
	}))
	if l.upgrade {
		if l.kind == "tls" {
			srv.StartTLS()
		} else {
			srv.Start()
		}
		t.Cleanup(func() {
			srv.CloseClientConnections()
			srv.Close()
		})
	}
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		c.Control(func(fd uintptr) { err = setWindow(fd, l.window/2) }) // Linux doubles it
		return err
	}}
	peer, err = d.Dial(network, listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	if l.kind == "tls" {
		peer = tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
	}
	if !l.upgrade {
		ours, err := srv.Listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ours.Close() })
		if l.kind == "tls" {
			srv.StartTLS() // for its certificate
			secure := tls.Server(ours, srv.TLS)
			go secure.Handshake()
			if err := peer.(*tls.Conn).Handshake(); err != nil {
				t.Fatal(err)
			}
			ours = secure
		}
		srv.Close()
		if err := conns.Add("a", ours); err != nil {
			t.Fatal(err)
		}
	}
	r = bufio.NewReaderSize(peer, 4<<10)
	if l.upgrade {
		fmt.Fprintf(peer, "GET / HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(resp, err)
		}
		eventually(t, "joined", added.Load)
	}
	return peer, r, <-taken
}

// A taking listener passes on the connections that it accepts.
type taking struct {
	net.Listener
	taken chan net.Conn
}

func (l *taking) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.taken <- c
	}
	return c, err
}

// read reads n bytes at a rate in bytes per second, without a pause.
func read(r io.Reader, n, rate int) (got int, err error) {
	start, b := time.Now(), make([]byte, 4<<10)
	for got < n && err == nil {
		time.Sleep(time.Until(start.Add(time.Duration(got) * time.Second / time.Duration(rate))))
		m := 0
		m, err = r.Read(b)
		got += m
	}
	return got, err
}

// TestSteadyReaderIsNotSlow: with a full outbox, Add waits for a steady reader, however much of
// its reading is hidden by the operating system's buffer.
func TestSteadyReaderIsNotSlow(t *testing.T) {
	t.Parallel()
	for _, l := range slowLines(t) {
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel()
			undisturbed(t, func() error { return steadyReader(t, l) })
		})
	}
}

func steadyReader(t *testing.T, l line) error {
	p, conns, stream := started(t)
	_, r, _ := l.open(t, conns)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for data := make([]byte, 32<<10); stream.AddContext(ctx, "a", data) == nil && conns.Len() == 1; {
		}
	}()
	const rate = 1 << 20
	got, err := read(r, 3*rate, rate)
	stop()
	<-ended
	if s := p.Stats()[0]; err != nil || s.Connections != 1 || s.Undelivered != 0 || s.Written == 0 {
		return fmt.Errorf("after %d bytes: %v, %+v", got, err, s)
	}
	return nil
}

// TestWhoAcknowledgesIsNotTimedOut: the waiting messages, and each single write, take far
// longer than the write timeout, but the peer acknowledges data all the time.
func TestWhoAcknowledgesIsNotTimedOut(t *testing.T) {
	t.Parallel()
	for _, l := range slowLines(t) {
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel()
			p, conns, stream := started(t, gcpool.WithOutbox(32<<20), gcpool.WithWriteTimeout(long), gcpool.WithHeartbeat(0))
			_, r, _ := l.open(t, conns)
			start, gone := time.Now(), make(chan int, 1)
			go func() {
				got, _ := read(r, 1<<30, 100<<10)
				gone <- got
			}()
			for range 24 {
				add(t, stream, "a", string(make([]byte, 1<<20)))
			}
			select {
			case got := <-gone:
				t.Errorf("closed after %d bytes", got)
			case <-time.After(time.Until(start.Add(2*long + time.Second))):
			}
			if s := p.Stats()[0]; s.Connections != 1 || s.Undelivered != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestWhoStopsIsTimedOut: a peer that stops reading, at once or later, is closed as slow.
func TestWhoStopsIsTimedOut(t *testing.T) {
	t.Parallel()
	for _, l := range slowLines(t) {
		for _, before := range []int{0, 200 << 10} {
			t.Run(fmt.Sprint(l, " after ", before), func(t *testing.T) {
				t.Parallel()
				p, conns, stream := started(t, gcpool.WithOutbox(32<<20), gcpool.WithWriteTimeout(4*time.Second), gcpool.WithHeartbeat(0))
				_, r, _ := l.open(t, conns)
				for range 4 {
					if err := stream.Add("a", make([]byte, 1<<20)); err != nil {
						t.Fatal(err)
					}
				}
				if got, err := read(r, before, 400<<10); err != nil {
					t.Errorf("after %d bytes: %v", got, err)
				}
				eventually(t, "closed", func() bool { return conns.Len() == 0 })
				eventually(t, "reported", func() bool { return p.Stats()[0].Waiting == 0 })
				if s := settled(t, p); s.Slow == 0 {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// TestFullOutboxOfASlowPeer: the overflow policy applies to a peer that has
// acknowledged nothing for a second. For any other peer, Add waits.
func TestFullOutboxOfASlowPeer(t *testing.T) {
	t.Parallel()
	for _, l := range slowLines(t) {
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel()
			undisturbed(t, func() error { return slowPeer(t, l) })
		})
	}
}

func slowPeer(t *testing.T, l line) error {
	p, conns, stream := started(t, gcpool.WithOverflow(gcpool.DropNewest), gcpool.WithWriteTimeout(time.Minute))
	_, r, _ := l.open(t, conns)
	var stop atomic.Bool
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for !stop.Load() {
			if err := stream.Add("a", make([]byte, 32<<10)); err != nil {
				t.Error(err)
			}
		}
	}()
	defer func() { <-ended }()
	defer stop.Store(true)
	if got, err := read(r, 500<<10, 200<<10); err != nil {
		t.Fatalf("after %d bytes: %v", got, err)
	}
	if s := p.Stats()[0]; s.Slow > 0 {
		return fmt.Errorf("%d gave way while the peer read", s.Slow)
	}
	eventually(t, "one gives way when it does not", func() bool { return p.Stats()[0].Slow > 0 })
	return nil
}
