package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/websocket"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/nettest"
	"github.com/nulijiabei/gcpool/internal/socket"
	"github.com/nulijiabei/gcpool/internal/upgrade"
)

type hijacked struct {
	*httptest.ResponseRecorder
	conn *upgrade.Conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// dialUpgraded returns the link of an upgraded WebSocket, its peer,
// and a function that ends the handler.
func dialUpgraded(t *testing.T) (link *Link, peer net.Conn, leave func()) {
	t.Helper()
	conn, raw := nettest.TCP(t)
	links, done := make(chan *Link), make(chan bool)
	go func() {
		req, _ := http.ReadRequest(bufio.NewReader(conn))
		c := &upgrade.Conn{Conn: conn}
		websocket.Handler(func(ws *websocket.Conn) {
			links <- newLink(ws, false)
			<-done
		}).ServeHTTP(hijacked{httptest.NewRecorder(), c}, req.WithContext(context.WithValue(context.Background(), upgrade.ConnKey{}, c)))
	}()
	config, err := websocket.NewConfig("ws://localhost/", "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	if peer, err = websocket.NewClient(config, raw); err != nil {
		t.Fatal(err)
	}
	return <-links, peer, func() { close(done) }
}

// TestKillWhileTheApplicationSetsDeadlines: Kill must close an upgraded WebSocket whose write
// is stuck, even while the application keeps setting deadlines on it.
func TestKillWhileTheApplicationSetsDeadlines(t *testing.T) {
	for range 20 {
		link, peer, leave := dialUpgraded(t)
		sent, killed, stop := make(chan bool), make(chan bool), make(chan bool)
		go func() {
			defer close(sent)
			link.Send(frame.Append(nil, frame.Text, make([]byte, 16<<20), false), func(int) {})
		}()
		time.Sleep(50 * time.Millisecond) // the write is stuck
		go func() {
			for { // like an application that sets one before each Read or Write
				select {
				case <-stop:
					return
				default:
					link.Conn.SetDeadline(time.Now().Add(time.Hour))
				}
			}
		}()
		go func() {
			defer close(killed)
			link.Kill()
		}()
		select {
		case <-killed:
		case <-time.After(20 * time.Second):
			t.Error("Kill has not closed the connection")
		}
		close(stop)
		leave()
		peer.Close()
		<-sent
		<-killed
		if t.Failed() {
			return
		}
	}
}

// TestStuckSendKeepsLittle: a stuck send keeps little memory besides its frames: not the buffer
// of a whole piece for two short ones, and none for one.
func TestStuckSendKeepsLittle(t *testing.T) {
	const peers = 50
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	short := frame.Append(frame.Append(nil, frame.Text, []byte("hello"), true), frame.Text, []byte("hello"), true)
	large := frame.Append(nil, frame.Text, make([]byte, socket.Piece), true)
	for what, frames := range map[string][]byte{"two short ones": short, "a large one": large} {
		var stuck sync.WaitGroup
		var before int
		var conns []net.Conn
		for range peers {
			conn, peer := nettest.TCP(t)
			conn.(*net.TCPConn).SetWriteBuffer(4096)
			peer.(*net.TCPConn).SetReadBuffer(4096)
			for range 3 { // until the socket is full, also a moment later
				conn.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
				conn.Write(make([]byte, 4<<20))
			}
			conn.SetWriteDeadline(time.Time{})
			conns = append(conns, conn)
		}
		before = heap()
		for _, conn := range conns {
			stuck.Go(func() { newLink(conn, false).Send(frames, func(int) {}) })
		}
		time.Sleep(100 * time.Millisecond)
		if each := (heap() - before) / peers; each > 16<<10 {
			t.Errorf("%s in a stuck write take %d bytes", what, each)
		}
		for _, conn := range conns {
			conn.Close()
		}
		stuck.Wait()
	}
}

// TestStreamTellsHowFarItCame: Stream reports its progress after each piece.
func TestStreamTellsHowFarItCame(t *testing.T) {
	conn, peer := nettest.TCP(t)
	go io.Copy(io.Discard, peer)
	frames := frame.Append(nil, frame.Text, make([]byte, 2*socket.Piece), true)
	frames = frame.Append(frames, frame.Text, []byte("x"), true)
	var told []int
	n, err := newLink(conn, false).Send(frames, func(n int) { told = append(told, n) })
	if n != len(frames) || err != nil || !slices.Equal(told, []int{socket.Piece, 2 * socket.Piece}) {
		t.Errorf("%d of %d bytes, %v; told %v", n, len(frames), err, told)
	}
}

// TestRawTLSEndsWithCloseNotify: without it, crypto/tls reports io.ErrUnexpectedEOF.
func TestRawTLSEndsWithCloseNotify(t *testing.T) {
	conn, peer := nettest.TCP(t)
	https := httptest.NewTLSServer(nil)
	defer https.Close()
	server := tls.Server(conn, &tls.Config{Certificates: https.TLS.Certificates})
	client := tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
	go server.Handshake()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	server.Handshake() // so that the handshake is over on this side too
	newLink(server, false).Close(frame.StatusNormal, func() {})
	client.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadAll(client); err != nil {
		t.Error(err)
	}
}

// TestLinkOfAWrapper: a library's wrapper around the connection that it hijacked counts as the
// same connection; a wrapper that cannot be unwrapped is a different one.
func TestLinkOfAWrapper(t *testing.T) {
	conn, _ := nettest.TCP(t)
	c := upgrade.NewConn(conn, nil, nil)
	itself := wrapper{Conn: c}
	itself.under = func() net.Conn { return itself }
	for what, test := range map[string]struct {
		conn net.Conn
		want bool
	}{
		"one of itself":       {itself, false},
		"one of nothing":      {wrapper{c, func() net.Conn { return nil }}, false},
		"one of a nil Conn":   {wrapper{c, func() net.Conn { return (*upgrade.Conn)(nil) }}, false},
		"one of a nil x/net":  {wrapper{c, func() net.Conn { return (*websocket.Conn)(nil) }}, false},
		"itself":              {c, true},
		"gorilla's wrapper":   {wrapper{c, func() net.Conn { return c }}, true},
		"two of them":         {wrapper{c, func() net.Conn { return wrapper{c, func() net.Conn { return c }} }}, true},
		"one of a pipe":       {wrapper{c, func() net.Conn { a, _ := net.Pipe(); return a }}, false},
		"one that panics":     {wrapper{c, func() net.Conn { panic("no") }}, false},
		"one without NetConn": {struct{ net.Conn }{c}, false},
	} {
		if got := newLink(test.conn, true); got.WebSocket() != test.want || got.opcode != 0 || !got.Is(test.conn) && what == "itself" {
			t.Errorf("%s: WebSocket is %v, and its own opcode is %d", what, got.WebSocket(), got.opcode)
		}
	}
}

type wrapper struct {
	net.Conn
	under func() net.Conn
}

func (w wrapper) NetConn() net.Conn { return w.under() }

// TestAnotherOpcodeTakesACopy: a Link must not change the frames of a
// log, so it copies them to send another opcode.
func TestAnotherOpcodeTakesACopy(t *testing.T) {
	var frames, want []byte
	for _, data := range []string{"1", strings.Repeat("2", 200), ""} {
		frames = frame.Append(frames, frame.Text, []byte(data), true)
		want = frame.Append(want, frame.Binary, []byte(data), true)
	}
	before := bytes.Clone(frames)
	l := &Link{opcode: frame.Binary}
	if got := l.coded(frames); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	if !bytes.Equal(frames, before) {
		t.Error("the frames of the log have changed")
	}
}

// TestTriesOnlyWhereTryCanWrite: otherwise each Add to an idle id would begin a write in vain.
func TestTriesOnlyWhereTryCanWrite(t *testing.T) {
	conn, _ := nettest.TCP(t)
	for _, test := range []struct {
		conn  net.Conn
		tries bool
	}{
		{upgrade.NewOpen(conn), true},
		{upgrade.NewOpen(tls.Server(conn, new(tls.Config))), false},
		{upgrade.NewOpen(wrapper{Conn: conn}), false},
		{conn, false},
	} {
		if l := newLink(test.conn, false); l.Tries() != test.tries {
			t.Errorf("a %s over %T: Tries is %v", l.Kind(), l.Socket(), l.Tries())
		}
	}
}

// newLink returns conn's Link, or nil if Init refuses conn.
func newLink(conn net.Conn, binary bool) *Link {
	if l := new(Link); l.Init(conn, binary) {
		return l
	}
	return nil
}

// A moved connection is one whose deadline the application moves as many times as left says.
type moved struct {
	net.Conn
	left int
}

func (m *moved) SetWriteDeadline(t time.Time) error {
	if m.left--; m.left >= 0 {
		return nil
	}
	return m.Conn.SetWriteDeadline(t)
}

// plain is the ResponseWriter that net/http gives to x/net without Upgrade.
type plain struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (p plain) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return p.conn, bufio.NewReadWriter(bufio.NewReader(p.conn), bufio.NewWriter(p.conn)), nil
}

// dialXNet returns the link of an x/net WebSocket over conn, whose other end is peer. Its
// handler runs until the test ends.
func dialXNet(t *testing.T, conn, peer net.Conn) *Link {
	t.Helper()
	links, done := make(chan *Link), make(chan bool)
	t.Cleanup(func() { close(done) })
	go func() {
		req, _ := http.ReadRequest(bufio.NewReader(conn))
		websocket.Handler(func(ws *websocket.Conn) {
			links <- newLink(ws, false)
			<-done
		}).ServeHTTP(plain{httptest.NewRecorder(), conn}, req)
	}()
	config, err := websocket.NewConfig("ws://localhost/", "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := websocket.NewClient(config, peer); err != nil {
		t.Fatal(err)
	}
	return <-links
}

// TestKillOfXNetWhoseDeadlineIsMoved: Kill must keep setting its
// deadline until the stuck write returns.
func TestKillOfXNetWhoseDeadlineIsMoved(t *testing.T) {
	ours, peer := net.Pipe()
	defer peer.Close()
	link, sent := dialXNet(t, &moved{ours, 60}, peer), make(chan error)
	go func() {
		_, err := link.Send(frame.Append(nil, frame.Text, []byte("x"), false), func(int) {})
		sent <- err
	}()
	if _, err := peer.Read(make([]byte, 1)); err != nil { // from now on Send is stuck
		t.Fatal(err)
	}
	link.Kill()
	if err := <-sent; err == nil {
		t.Error("the peer has not read it")
	}
}

// panics is a connection whose SetWriteDeadline panics.
type panics struct{ net.Conn }

func (panics) SetWriteDeadline(time.Time) error { panic("no deadlines") }

func TestClosedOfXNet(t *testing.T) {
	ours, peer := net.Pipe()
	link := dialXNet(t, ours, peer)
	if link.Closed() {
		t.Error("an open connection is closed")
	}
	peer.Close()
	if !link.Closed() {
		t.Error("a pipe that its peer has closed is open")
	}
	ours.Close()
	if !link.Closed() {
		t.Error("a closed pipe is open")
	}
	ours, peer = net.Pipe()
	defer peer.Close()
	if link := dialXNet(t, panics{ours}, peer); link.Closed() {
		t.Error("a connection that panics is closed")
	}
}

// TestCloseOfXNetWhileAGoodbyeIsSent: a goodbye that is being sent still reaches the peer when
// the pool closes, or asks whether the connection has been closed.
func TestCloseOfXNetWhileAGoodbyeIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, peer := net.Pipe()
		link := dialXNet(t, ours, peer)
		var ends sync.WaitGroup
		ends.Go(func() { link.Goodbye(frame.StatusGoingAway) })
		synctest.Wait() // the goodbye is stuck until the peer reads
		if link.Closed() {
			t.Error("an open connection is closed")
		}
		ends.Go(func() { link.Close(frame.Status{Code: 1000}, func() {}) })
		time.Sleep(closeGrace / 4)
		want := frame.StatusGoingAway.Frame()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the peer has read %x, %v, want %x", got, err, want)
		}
		peer.Close()
		ends.Wait()
	})
}

// gated is a connection whose SetWriteDeadline blocks when the deadline is in the future.
type gated struct {
	net.Conn
	let chan struct{}
}

func (g *gated) SetWriteDeadline(t time.Time) error {
	if t.After(time.Now()) {
		<-g.let
	}
	return g.Conn.SetWriteDeadline(t)
}

// TestClosedOfXNetLetsNoSecondFrameOut: a goodbye ends while Closed is asking whether the
// connection has been closed. The close of x/net must still send nothing (RFC 6455 section 5.5.1).
func TestClosedOfXNetLetsNoSecondFrameOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, peer := net.Pipe()
		slow := &gated{ours, make(chan struct{})}
		link := dialXNet(t, slow, peer)
		var ends sync.WaitGroup
		ends.Go(func() { link.Goodbye(frame.StatusGoingAway) })
		synctest.Wait()
		ends.Go(func() { link.Closed() })
		synctest.Wait()
		if _, err := io.ReadFull(peer, make([]byte, len(frame.StatusGoingAway.Frame()))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the goodbye is over
		close(slow.let)
		ends.Wait()
		go link.Conn.Close()
		if rest, err := io.ReadAll(peer); len(rest) > 0 || err != nil {
			t.Errorf("after the close frame the peer has read %x, %v", rest, err)
		}
	})
}
