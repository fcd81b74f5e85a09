package fuzz

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/fault"
	"golang.org/x/net/websocket"
)

// most is the largest input that is worth testing.
const most = 200 << 10

// bubble runs f in simulated time, which also detects goroutines that are left behind.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// A split is a connection that is read in pieces. The sizes of the pieces are the bytes of
// sizes, each plus one, over and over. Without sizes it is read all at once.
type split struct {
	net.Conn
	sizes []byte
	next  int
}

// Read implements [net.Conn].
func (s *split) Read(p []byte) (int, error) {
	if len(s.sizes) > 0 && len(p) > 0 {
		p = p[:min(len(p), 1+int(s.sizes[s.next%len(s.sizes)]))]
		s.next++
	}
	return s.Conn.Read(p)
}

// A rig is a pool, and a server that handles WebSockets for it.
type rig struct {
	*fault.Listener
	pool   *gcpool.Pool
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
	server *http.Server
	sizes  []byte
	done   chan struct{}

	mu      sync.Mutex
	log     bytes.Buffer // of net/http
	reports []gcpool.Undelivered
	failed  int // failed Delivers, which the hook does not report
	read    sync.WaitGroup
}

// newRig returns a rig whose handlers are at /upgraded and /plain.
func newRig(sizes []byte, handle func(r *rig, ws *websocket.Conn)) *rig {
	r := &rig{Listener: fault.NewListener(), sizes: sizes, done: make(chan struct{})}
	r.pool = gcpool.NewPool(gcpool.WithHeartbeat(0), gcpool.WithLogger(slog.New(slog.NewTextHandler(io.Discard,
		&slog.HandlerOptions{Level: slog.LevelDebug}))), gcpool.WithUndelivered(r.undelivered))
	r.pool.Register("default")
	r.conns, r.stream = r.pool.GetConn("default"), r.pool.GetStream("default")
	r.pool.Start()
	mux := http.NewServeMux()
	h := websocket.Handler(func(ws *websocket.Conn) { handle(r, ws) })
	mux.Handle("/plain", h)
	mux.Handle("/upgraded", gcpool.Upgrade(h))
	r.server = &http.Server{Handler: mux, ErrorLog: log.New(r, "", 0)}
	go func() {
		defer close(r.done)
		r.server.Serve(r)
	}()
	return r
}

// Accept implements [net.Listener].
func (r *rig) Accept() (net.Conn, error) {
	c, err := r.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &split{Conn: c, sizes: r.sizes}, nil
}

// Write receives the log of net/http.
func (r *rig) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

func (r *rig) undelivered(u gcpool.Undelivered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, u)
}

// buffered is the size of a connection's buffer, small enough that a large frame must wait.
const buffered = 1 << 10

// dial connects an x/net WebSocket.
func (r *rig) dial(t *testing.T, path string) *websocket.Conn {
	t.Helper()
	config, err := websocket.NewConfig("ws://localhost"+path, "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	_, c := r.Dial(buffered)
	ws, err := websocket.NewClient(config, &split{Conn: c, sizes: r.sizes})
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

// collect returns a function that returns the frames that arrived on a connection. It must be
// called only when no more can arrive.
func (r *rig) collect(ws *websocket.Conn) func() [][]byte {
	var mu sync.Mutex
	var all [][]byte
	r.read.Go(func() {
		defer ws.Close()
		for {
			var data []byte
			if err := websocket.Message.Receive(ws, &data); err != nil {
				return
			}
			mu.Lock()
			all = append(all, bytes.Clone(data))
			mu.Unlock()
		}
	})
	return func() [][]byte {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// raw connects id over a raw connection, and returns a function that
// returns all bytes that arrived.
func (r *rig) raw(t *testing.T, id string) func() []byte {
	t.Helper()
	server, client := fault.Pipe(1 << 20)
	if err := r.conns.Add(id, server); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var all []byte
	r.read.Go(func() {
		defer client.Close()
		buf := make([]byte, 4<<10)
		for {
			n, err := client.Read(buf)
			mu.Lock()
			all = append(all, buf[:n]...)
			mu.Unlock()
			if err != nil {
				return
			}
		}
	})
	return func() []byte {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// end shuts everything down, and checks that every message has had an
// outcome and that nothing has panicked.
func (r *rig) end(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	start := time.Now()
	r.pool.Shutdown(ctx)
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("Shutdown took %v", took)
	}
	s := r.pool.Stats()[0]
	if s.Waiting != 0 || s.Connections != 0 || s.Accepted != s.Written+s.Undelivered || s.Undelivered != uint64(len(r.reports)+r.failed) {
		t.Errorf("%d were reported, %d to Deliver: %+v", len(r.reports), r.failed, s)
	}
	r.server.Close()
	r.read.Wait()
	<-r.done
	time.Sleep(time.Minute) // for timers that are left
	if bytes.Contains(r.log.Bytes(), []byte("panic")) {
		t.Errorf("net/http says: %s", &r.log)
	}
}
