package promises

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

func TestShutdownDrainsAndSaysGoodbye(t *testing.T) { both(t, testShutdownDrainsAndSaysGoodbye) }

func testShutdownDrainsAndSaysGoodbye(t *testing.T, wrap wrapper) {
	p, conns, stream := started(t)
	addr := serve(t, wrap, verbatim(p, func() {}))
	const messages = 2000
	var wg sync.WaitGroup
	for i := range 5 {
		ws := dial(t, addr, fmt.Sprint("id=", i))
		wg.Go(func() {
			defer ws.Close() // Close answers the close frame
			if err := readToTheGoodbye(ws, messages); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "joined", func() bool { return conns.Len() == 5 })
	raw := tcp(t, conns, "raw")
	for n := range messages {
		for i := range 5 {
			add(t, stream, fmt.Sprint(i), fmt.Sprint(n))
		}
		add(t, stream, "raw", fmt.Sprint(n))
	}
	if err := shutdown(p, 20*time.Second); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if s := settled(t, p); s.Undelivered != 0 {
		t.Errorf("%d undelivered", s.Undelivered)
	}
	in := bufio.NewReader(raw)
	if got := lines(t, in, messages)[messages-1]; got != fmt.Sprint(messages-1) {
		t.Errorf("the last line is %q", got)
	}
	if _, err := in.ReadByte(); err == nil {
		t.Error("the raw connection is still open")
	}
	wg.Wait()
}

// readToTheGoodbye reads the given number of numbered messages, then
// a close frame with status 1001.
func readToTheGoodbye(ws *websocket.Conn, messages int) error {
	for n := range messages {
		f, err := ws.NewFrameReader()
		if err != nil {
			return err
		}
		if got, _ := io.ReadAll(f); string(got) != fmt.Sprint(n, "\n") {
			return fmt.Errorf("message %d: got %q", n, got)
		}
	}
	f, err := ws.NewFrameReader()
	if err != nil {
		return err
	}
	status := make([]byte, 2)
	if f.Read(status); f.PayloadType() != 8 || !bytes.Equal(status, []byte{0x03, 0xe9}) {
		return fmt.Errorf("after the last message: frame %d with %x, want a close frame with 1001", f.PayloadType(), status)
	}
	return nil
}

func TestShutdownDeliversWhatWasNeverStarted(t *testing.T) {
	p := gcpool.NewPool()
	p.Register(name)
	peer := pipe(t, p.GetConn(name), "a")
	add(t, p.GetStream(name), "a", "early")
	got := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(peer).ReadString('\n')
		got <- line
	}()
	if err := shutdown(p, 20*time.Second); err != nil {
		t.Error(err)
	}
	if line := <-got; line != "early\n" {
		t.Errorf("received %q", line)
	}
	if err := shutdown(p, time.Second); err != nil {
		t.Errorf("a second Shutdown: %v", err)
	}
	if err := p.Register("late"); err != gcpool.ErrClosed {
		t.Errorf("Register after Shutdown: %v", err)
	}
	p.Start()
}

func TestShutdownWakesThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := gcpool.NewPool(gcpool.WithBuffer(1))
		p.Register(name)
		s := p.GetStream(name)
		add(t, s, "a", "fills the buffer")
		waiting := make(chan error, 1)
		go func() { waiting <- s.Add("a", []byte("waits")) }()
		synctest.Wait()
		if got := p.Stats()[0]; got.Accepted != 1 || s.Len() != 1 || s.Cap() != 1 {
			t.Errorf("%+v, Len %d, Cap %d", got, s.Len(), s.Cap())
		}
		shutdown(p, time.Second)
		if err := <-waiting; err != gcpool.ErrClosed {
			t.Errorf("the Add that waited: %v", err)
		}

		p, _, stream, _ := full(t, 0, gcpool.WithOverflow(gcpool.DropNewest))
		go func() { waiting <- stream.Add("a", []byte("waits")) }()
		synctest.Wait()
		wakes(t, "for room", p, waiting)
	})
}

// wakes calls Shutdown, which must end a waiting Add at once.
func wakes(t *testing.T, what string, p *gcpool.Pool, waiting <-chan error) {
	t.Helper()
	start := time.Now()
	go shutdown(p, time.Second)
	select {
	case err := <-waiting:
		if took := time.Since(start); err != gcpool.ErrClosed || took > 0 {
			t.Errorf("an Add that waits %s ends after %v: %v", what, took, err)
		}
	case <-time.After(time.Minute):
		t.Errorf("an Add that waits %s does not end", what)
	}
}

// TestShutdownWakesWhoWaitsForAHook: a hook blocks, and Add waits for it.
func TestShutdownWakesWhoWaitsForAHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, waiting := make(chan bool), make(chan error, 1)
		p, conns, stream := started(t, gcpool.WithBuffer(1), gcpool.WithUndelivered(func(gcpool.Undelivered) { <-free }))
		for range 3 { // one is in the hook
			add(t, stream, "away", "x")
			synctest.Wait()
		}
		go func() { waiting <- stream.Add("away", []byte("waits")) }()
		synctest.Wait()
		wakes(t, "for a hook", p, waiting)
		if err := conns.Get("away", func(net.Conn) error { return nil }); err != gcpool.ErrClosed {
			t.Errorf("Get: %v", err)
		}
		close(free)
	})
}

func TestWhatWasAddedBeforeStartComesFirst(t *testing.T) {
	for range 50 {
		p := gcpool.NewPool()
		p.Register(name)
		conns, stream := p.GetConn(name), p.GetStream(name)
		in := bufio.NewReader(tcp(t, conns, "a"))
		const before, all = 900, 1000
		buf := make([]byte, 0, 20) // one buffer for all messages, because Add copies
		for i := range before {
			buf = fmt.Append(buf[:0], i)
			stream.Add("a", buf)
			clear(buf)
		}
		p.Start()
		for i := before; i < all; i++ {
			buf = fmt.Append(buf[:0], i)
			stream.Add("a", buf)
			clear(buf)
		}
		for i, line := range lines(t, in, all) {
			if line != fmt.Sprint(i) {
				t.Fatalf("message %d is %q", i, line)
			}
		}
		shutdown(p, time.Second)
	}
}

// A mute connection returns no error from SetDeadline and the like,
// so they do not reveal whether it is closed.
type mute struct{ net.Conn }

func (mute) SetWriteDeadline(time.Time) error { return nil }
func (mute) SetDeadline(time.Time) error      { return nil }

// TestShutdownSeesThatAnUpgradedHandlerHasReturned: Shutdown ends when the handler has
// returned, even if its connection does not reveal that it is closed.
func TestShutdownSeesThatAnUpgradedHandlerHasReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c, _ := started(t)
		l := newMemory()
		srv := &http.Server{Handler: gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
			c.Add("alice", ws)
			io.Copy(io.Discard, ws)
		}))}
		go srv.Serve(l)
		defer srv.Close()
		ours, theirs := net.Pipe()
		l.conns <- mute{theirs}
		config, _ := websocket.NewConfig("ws://memory/", "http://memory")
		ws, err := websocket.NewClient(config, ours)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			io.Copy(io.Discard, ws)
			time.Sleep(2 * time.Second)
			ws.Close()
		}()
		synctest.Wait()
		start := time.Now()
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		within(t, "Shutdown", start, 2*time.Second, time.Second)
	})
}

// TestShutdownOfAFullStream: Shutdown ends with its context, however
// many messages have waited since before Start.
func TestShutdownOfAFullStream(t *testing.T) {
	undisturbed(t, func() error { return shutdownOfAFullStream(t) })
}

// shutdownOfAFullStream returns an error if Shutdown ends too late.
func shutdownOfAFullStream(t *testing.T) (late error) {
	const ids, broadcasts = 500, 2_000
	p := gcpool.NewPool(gcpool.WithLogger(slog.New(slog.DiscardHandler)), gcpool.WithBuffer(broadcasts))
	p.Register(name)
	conns, stream := p.GetConn(name), p.GetStream(name)
	for i := range ids {
		ours, peer := net.Pipe()
		go io.Copy(io.Discard, peer)
		conns.Add(fmt.Sprint(i), ours)
	}
	for range broadcasts {
		if err := stream.Broadcast(make([]byte, 50)); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	err := shutdown(p, 50*time.Millisecond)
	if d := time.Since(start); d > 2*time.Second {
		late = fmt.Errorf("Shutdown with 50 ms took %v: %v", d, err)
	}
	eventually(t, "settled", func() bool { return p.Stats()[0].Waiting == 0 })
	return late
}

// A slowCloser takes 100 ms to close, like a multiplexed connection.
type slowCloser struct{ net.Conn }

func (s slowCloser) Close() error {
	time.Sleep(100 * time.Millisecond)
	return s.Conn.Close()
}

var ofConnections = regexp.MustCompile(`gcpool/internal/(transport|upgrade|socket)\.`)

// TestShutdownWaitsForBothCloses: Shutdown waits for the close that was already
// running, and for its own.
func TestShutdownWaitsForBothCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, _ := started(t)
		ours, _ := net.Pipe()
		conns.Add("a", slowCloser{ours})
		conns.Del("a")
		synctest.Wait()
		shutdown(p, 50*time.Millisecond)
		buf := make([]byte, 1<<20)
		all := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		_, bubble, _ := strings.Cut(all[0], "synctest ")
		bubble, _, _ = strings.Cut(bubble, "]")
		for _, g := range all {
			if strings.Contains(g, bubble+"]") && ofConnections.MatchString(g) {
				t.Errorf("a goroutine of the pool runs after Shutdown:\n%s", g)
			}
		}
		time.Sleep(time.Second)
	})
}

// TestShutdownEndsTLSOfXNet: TLS ends with close_notify even without Upgrade, where x/net
// closes the socket once the handler has returned.
func TestShutdownEndsTLSOfXNet(t *testing.T) {
	t.Parallel()
	p, conns, _ := started(t)
	srv := httptest.NewTLSServer(websocket.Handler(func(ws *websocket.Conn) {
		conns.Add("a", ws)
		defer conns.Del("a")
		io.Copy(io.Discard, ws)
	}))
	defer srv.Close()
	conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	config, _ := websocket.NewConfig("wss://server/", "https://server")
	if _, err := websocket.NewClient(config, conn); err != nil {
		t.Fatal(err)
	}
	eventually(t, "joined", func() bool { return conns.Connected("a") == 1 })
	over := make(chan error)
	go func() { over <- shutdown(p, 20*time.Second) }()
	in := bufio.NewReader(conn)
	if op, payload, err := frame(in); op != 0x88 || payload != "\x03\xe9" {
		t.Errorf("closed with %x %q, %v", op, payload, err)
	}
	io.WriteString(conn, "\x88\x82\x00\x00\x00\x00\x03\xe9")
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("TLS ends with %v", err)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
}
