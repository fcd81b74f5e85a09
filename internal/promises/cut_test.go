package promises

import (
	"bufio"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/internal/nettest"
	"golang.org/x/net/websocket"
)

// TestACutMessageIsSentAgain: a peer stops in the middle of a message, and a newer connection
// takes over. If the old peer certainly does not have the message, the newer connection gets it
// whole, ahead of the messages that wait behind it. Otherwise it is reported.
func TestACutMessageIsSentAgain(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not report how much a closed connection has taken")
	}
	for name, test := range map[string]struct {
		connect func(t *testing.T, conns *gcpool.ConnPool) // connects a peer that does not read
		again   bool
	}{
		"WebSocket over TCP":             {stuckWebSocket("tcp", gcpool.Upgrade, true), true},
		"WebSocket over TLS":             {stuckWebSocket("tls", gcpool.Upgrade, true), true},
		"WebSocket over a Unix socket":   {stuckWebSocket("unix", gcpool.Upgrade, true), true},
		"binary WebSocket":               {stuckWebSocket("tcp", gcpool.Upgrade, false), true},
		"WebSocket without Upgrade":      {stuckWebSocket("tcp", plain, true), false},
		"raw TCP":                        {stuckRaw(func(c net.Conn) net.Conn { return c }), false},
		"a type of the application's":    {stuckRaw(func(c net.Conn) net.Conn { return struct{ net.Conn }{c} }), false},
		"WebSocket over the application": {stuckWebSocket("wrapped", gcpool.Upgrade, true), false},
		"TLS over the application":       {stuckWebSocket("tls, wrapped", gcpool.Upgrade, true), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r reports
			const size = 8 << 20 // more than the sockets hold
			p, conns, stream := started(t, gcpool.WithOutbox(2*size), gcpool.WithUndelivered(r.hook))
			test.connect(t, conns)
			long := strings.Repeat("x", size)
			add(t, stream, "a", long)
			eventually(t, "the write is under way", func() bool { return p.Stats()[0].Stalled == 1 })
			add(t, stream, "a", "behind")
			ours, peer := net.Pipe()
			if err := conns.Add("a", ours); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(peer)
			peer.SetReadDeadline(time.Now().Add(20 * time.Second))
			want := []string{"behind"}
			if test.again {
				want = []string{long, "behind"}
			}
			for _, w := range want {
				got, err := in.ReadString('\n')
				if err != nil || got != w+"\n" {
					t.Fatalf("the next connection received %d bytes, %v; want %d", len(got), err, len(w)+1)
				}
			}
			undelivered := 1 - len(want)/2
			eventually(t, "each has its outcome", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return len(r.all) == undelivered
			})
		})
	}
}

// TestACutMessageWithoutANextConnection: after a Kick, the message that was cut and the message
// behind it are each reported once.
func TestACutMessageWithoutANextConnection(t *testing.T) {
	t.Parallel()
	var r reports
	p, conns, stream := started(t, gcpool.WithOutbox(16<<20), gcpool.WithUndelivered(r.hook))
	stuckWebSocket("tcp", gcpool.Upgrade, true)(t, conns)
	add(t, stream, "a", strings.Repeat("x", 8<<20))
	eventually(t, "the write is under way", func() bool { return p.Stats()[0].Stalled == 1 })
	add(t, stream, "a", "behind")
	if n, err := conns.Kick("a", 1000, ""); n != 1 || err != nil {
		t.Fatalf("Kick: %d, %v", n, err)
	}
	r.await(t, p)
	got := r.take(t, gcpool.ErrDeleted)
	if len(got) != 2 || got[1] != "a behind" {
		t.Errorf("reported: %.20q", got)
	}
}

func stuckRaw(wrap func(net.Conn) net.Conn) func(t *testing.T, conns *gcpool.ConnPool) {
	return func(t *testing.T, conns *gcpool.ConnPool) {
		ours, _ := nettest.TCP(t)
		if err := conns.Add("a", wrap(ours)); err != nil {
			t.Fatal(err)
		}
	}
}

// stuckWebSocket connects a WebSocket whose peer does not read.
func stuckWebSocket(network string, wrap wrapper, text bool) func(t *testing.T, conns *gcpool.ConnPool) {
	return func(t *testing.T, conns *gcpool.ConnPool) {
		added := make(chan error, 1)
		srv := httptest.NewUnstartedServer(wrap.around(websocket.Handler(func(ws *websocket.Conn) {
			if !text {
				ws.PayloadType = websocket.BinaryFrame
			}
			added <- conns.Add("a", ws)
			io.Copy(io.Discard, ws)
		})))
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		address := srv.Listener.Addr().String()
		dial := func() (net.Conn, error) { return net.Dial("tcp", address) }
		switch network {
		case "tcp":
			srv.Start()
		case "wrapped":
			srv.Listener = wrappedListener{srv.Listener}
			srv.Start()
		case "tls", "tls, wrapped":
			if network != "tls" {
				srv.Listener = wrappedListener{srv.Listener}
			}
			srv.StartTLS()
			dial = func() (net.Conn, error) {
				return tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
			}
		case "unix":
			dir, err := os.MkdirTemp("", "cut")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			file := filepath.Join(dir, "socket")
			srv.Listener.Close()
			if srv.Listener, err = net.Listen("unix", file); err != nil {
				t.Fatal(err)
			}
			srv.Start()
			dial = func() (net.Conn, error) { return net.Dial("unix", file) }
		}
		t.Cleanup(srv.Close)
		peer, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { peer.Close() })
		config, _ := websocket.NewConfig("ws://server/", "http://server")
		if _, err := websocket.NewClient(config, peer); err != nil {
			t.Fatal(err)
		}
		if err := <-added; err != nil {
			t.Fatal(err)
		}
	}
}

// wrappedListener accepts connections of the application's own type.
type wrappedListener struct{ net.Listener }

func (l wrappedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}

// TestWhatTLSHidesIsNotSentAgain: a connection of the application's
// own type may write everything and then return an error, for example
// at a limit. crypto/tls does not report how much was written.
func TestWhatTLSHidesIsNotSentAgain(t *testing.T) {
	for what, wrap := range map[string]func(net.Conn) net.Conn{
		"WebSocket": func(conn net.Conn) net.Conn { return gcpool.NewConn(conn) },
		"raw":       func(conn net.Conn) net.Conn { return conn },
	} {
		var r reports
		p, conns, stream := started(t, gcpool.WithUndelivered(r.hook), gcpool.WithMailbox(time.Minute, 1<<20))
		ours, peer := net.Pipe()
		limited := &failsBehind{Conn: ours}
		server, client := tls.Server(limited, serverTLS(t)), tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
		go client.Handshake()
		if err := server.Handshake(); err != nil {
			t.Fatal(err)
		}
		received := make(chan string, 1)
		go func() {
			all, _ := io.ReadAll(client)
			received <- string(all)
		}()
		limited.fails.Store(true)
		if err := conns.Add("a", wrap(server)); err != nil {
			t.Fatal(err)
		}
		add(t, stream, "a", "once")
		eventually(t, "it has its outcome", func() bool { return p.Stats()[0].Undelivered == 1 })
		next, in := net.Pipe()
		if err := conns.Add("a", next); err != nil {
			t.Fatal(err)
		}
		add(t, stream, "a", "next")
		if got := lines(t, bufio.NewReader(in), 1)[0]; got != "next" {
			t.Errorf("%s: the next connection received %q", what, got)
		}
		peer.Close()
		if got := <-received; !strings.Contains(got, "once") {
			t.Errorf("%s: the first connection received %q", what, got)
		}
	}
}

// failsBehind is a connection whose Write writes everything, then fails.
type failsBehind struct {
	net.Conn
	fails atomic.Bool
}

func (f *failsBehind) Write(p []byte) (int, error) {
	n, err := f.Conn.Write(p)
	if err == nil && f.fails.Load() {
		err = io.ErrShortBuffer
	}
	return n, err
}

func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	srv := httptest.NewTLSServer(nil)
	srv.Close()
	return srv.TLS
}
