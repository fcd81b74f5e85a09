// Package promises tests gcpool's promises from the outside. Each file tests one or two
// promises, in simulated time where time matters, and over real loopback connections where the
// operating system matters.
package promises

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

const name = "default"

// reports collects what is passed to WithUndelivered's hook.
type reports struct {
	mu  sync.Mutex
	all []gcpool.Undelivered
}

func (r *reports) hook(u gcpool.Undelivered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, u)
}

// await waits until each message of p has its outcome, and the hook has been called for every
// message that was not delivered. A report counts as soon as its call of the hook begins.
func (r *reports) await(t *testing.T, p *gcpool.Pool) {
	t.Helper()
	eventually(t, "all is reported", func() bool {
		s := p.Stats()[0]
		r.mu.Lock()
		defer r.mu.Unlock()
		return s.Waiting == 0 && len(r.all) >= int(s.Undelivered)
	})
}

// take returns the reports since the last call, each as "id data". It fails the test if the
// reason of any is not err.
func (r *reports) take(t *testing.T, err error) []string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, u := range r.all {
		if !errors.Is(u.Err, err) {
			t.Errorf("%s %.20q was reported with %v, want %v", u.ID, u.Data, u.Err, err)
		}
		all = append(all, u.ID+" "+string(u.Data[:min(100, len(u.Data))]))
	}
	r.all = nil
	return all
}

// started returns a started pool, its connections and its stream. The
// end of the test shuts the pool down.
func started(t *testing.T, opts ...gcpool.Option) (*gcpool.Pool, *gcpool.ConnPool, *gcpool.StreamPool) {
	t.Helper()
	p := gcpool.NewPool(append([]gcpool.Option{gcpool.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err := p.Register(name); err != nil {
		t.Fatal(err)
	}
	p.Start()
	t.Cleanup(func() { shutdown(p, time.Second) })
	return known(p)
}

// pools maps each ConnPool and StreamPool returned by started and idle to its pool.
var pools sync.Map

// local returns the API for a cluster, for the pool of a ConnPool or StreamPool.
func local(of any) *gcpool.Local {
	p, ok := pools.Load(of)
	if !ok {
		panic("not a pool of started or idle")
	}
	return gcpool.NewLocal(p.(*gcpool.Pool))
}

// known returns p with its connections and its stream, and makes them known to local.
func known(p *gcpool.Pool) (*gcpool.Pool, *gcpool.ConnPool, *gcpool.StreamPool) {
	pools.Store(p.GetConn(name), p)
	pools.Store(p.GetStream(name), p)
	return p, p.GetConn(name), p.GetStream(name)
}

func shutdown(p *gcpool.Pool, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return p.Shutdown(ctx)
}

// pipe connects id to the pool over memory and returns the peer's end. The pipe has no buffer:
// a write takes only what the peer reads.
func pipe(t *testing.T, c *gcpool.ConnPool, id string) net.Conn {
	t.Helper()
	ours, peer := net.Pipe()
	t.Cleanup(func() { peer.Close() })
	if err := c.Add(id, ours); err != nil {
		t.Fatal(err)
	}
	return peer
}

// add pushes a message, and fails the test on an error.
func add(t *testing.T, s *gcpool.StreamPool, id, data string) {
	t.Helper()
	if err := s.Add(id, []byte(data)); err != nil {
		t.Fatalf("Add(%q, %.20q): %v", id, data, err)
	}
}

// lines reads n lines from the peer.
func lines(t *testing.T, r *bufio.Reader, n int) []string {
	t.Helper()
	var got []string
	for range n {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, strings.TrimSuffix(line, "\n"))
	}
	return got
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// eventually polls in real time until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("never: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

// undisturbed repeats an attempt that failed while the machine stalled the
// test. It is for decisions of the pool with fixed times, such as whether a
// full outbox is slow: no option makes them longer than such a stall. A
// failure on a quiet machine fails the test, and so do five failures in a row.
func undisturbed(t *testing.T, attempt func() error) {
	t.Helper()
	for n := 1; ; n++ {
		held := stalls()
		start := time.Now()
		err := attempt()
		longest, all := held()
		if err == nil {
			return
		}
		if longest < 100*time.Millisecond && all < time.Since(start)/4 || n == 5 {
			t.Fatalf("attempt %d, stalled for at most %v at once and %v in all: %v", n, longest, all, err)
		}
		t.Logf("attempt %d, stalled for up to %v at once and %v in all: %v", n, longest, all, err)
	}
}

// stalls measures how long the machine stalls the test. The returned function stops that, and
// returns the longest stall and the sum of all.
func stalls() (held func() (longest, all time.Duration)) {
	const often = 5 * time.Millisecond
	stop, ended := make(chan struct{}), make(chan struct{})
	var longest, all time.Duration
	go func() {
		defer close(ended)
		for last := time.Now(); ; last = time.Now() {
			time.Sleep(often)
			late := time.Since(last) - often
			longest, all = max(longest, late), all+late
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	return func() (time.Duration, time.Duration) {
		close(stop)
		<-ended
		return longest, all
	}
}

// settled fails the test unless every message has had its outcome.
func settled(t *testing.T, p *gcpool.Pool) gcpool.Stats {
	t.Helper()
	s := p.Stats()[0]
	if s.Waiting != 0 || s.WaitingBytes != 0 || s.Accepted != s.Written+s.Forwarded+s.Undelivered {
		t.Errorf("some message does not have exactly one outcome: %+v", s)
	}
	return s
}

// wrapper is what a test puts around a handler; nil adds nothing.
type wrapper func(http.Handler) http.Handler

var plain wrapper

func (w wrapper) around(h http.Handler) http.Handler {
	if w == nil {
		return h
	}
	return w(h)
}

// both runs a test without Upgrade and with it.
func both(t *testing.T, test func(*testing.T, wrapper)) {
	t.Run("plain", func(t *testing.T) { test(t, plain) })
	t.Run("upgraded", func(t *testing.T) { test(t, gcpool.Upgrade) })
}

// serve starts an HTTP server on a loopback port and returns its address.
func serve(t *testing.T, wrap wrapper, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(wrap.around(h))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.Listener.Addr().String()
}

// dial opens a WebSocket to addr.
func dial(t *testing.T, addr, query string) *websocket.Conn {
	t.Helper()
	ws, err := websocket.Dial("ws://"+addr+"/?"+query, "", "http://"+addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return ws
}

// handshake opens a WebSocket over a plain TCP connection and reads the response, so that the
// test can read the frames as they arrive, or not read at all. The peer's operating system
// holds up to window unread bytes, or its default if window is 0. Linux doubles window.
func handshake(t *testing.T, addr, query string, window int) (net.Conn, *bufio.Reader) {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if window > 0 {
			c.Control(func(fd uintptr) { err = setWindow(fd, window) })
		}
		return err
	}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET /?%s HTTP/1.1\r\nHost: %s\r\nOrigin: http://%s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", query, addr, addr)
	r := bufio.NewReaderSize(c, 4<<10)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	return c, r
}

// memory is a listener whose connections are pipes, for simulated time.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newMemory() *memory {
	return &memory{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.done) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// serveMemory serves h over memory. The returned function dials it and returns the raw
// connection, from which the test can read frames, and the WebSocket on it.
func serveMemory(t *testing.T, wrap wrapper, h http.Handler) func(query string) (net.Conn, *websocket.Conn) {
	t.Helper()
	m := newMemory()
	srv := &http.Server{Handler: wrap.around(h)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(m)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return func(query string) (net.Conn, *websocket.Conn) {
		ours, theirs := net.Pipe()
		m.conns <- theirs
		t.Cleanup(func() { ours.Close() })
		config, err := websocket.NewConfig("ws://memory/?"+query, "http://memory")
		if err != nil {
			t.Fatal(err)
		}
		ws, err := websocket.NewClient(config, ours)
		if err != nil {
			t.Fatal(err)
		}
		return ours, ws
	}
}

// frame reads one frame from the server, and returns its first byte and its payload.
func frame(r *bufio.Reader) (byte, string, error) {
	var head [2]byte
	if _, err := readFull(r, head[:]); err != nil {
		return 0, "", err
	}
	n := int(head[1])
	if n > 125 {
		size := make([]byte, map[int]int{126: 2, 127: 8}[n])
		if _, err := readFull(r, size); err != nil {
			return 0, "", err
		}
		n = 0
		for _, b := range size {
			n = n<<8 | int(b)
		}
	}
	payload := make([]byte, n)
	_, err := readFull(r, payload)
	return head[0], string(payload), err
}

func readFull(r *bufio.Reader, p []byte) (int, error) {
	for n := 0; n < len(p); {
		m, err := r.Read(p[n:])
		if n += m; err != nil {
			return n, err
		}
	}
	return len(p), nil
}
