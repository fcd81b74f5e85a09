package torture

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/fault"
	"github.com/nulijiabei/gcpool/torture/internal/peer"
	"github.com/nulijiabei/gcpool/torture/ledger"
	"golang.org/x/net/websocket"
)

const name = "default"

// kind is the way an id is connected.
type kind int

const (
	raw kind = iota
	plain
	upgraded
)

var kinds = []kind{raw, plain, upgraded}

func (k kind) String() string { return [...]string{"raw", "plain", "upgraded"}[k] }

// rig is a pool, its server, and the ledger of all messages.
type rig struct {
	t      *testing.T
	pool   *gcpool.Pool
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
	ledger *ledger.Ledger
	bounds ledger.Bounds
	mux    *http.ServeMux
	leave  func(id string)          // runs before a handler's deferred Del
	read   func(ws *websocket.Conn) // what a handler does until the peer leaves
	wrap   func(net.Conn) net.Conn  // the peer's end, before it is used
	after  func()                   // runs when Shutdown has returned
	addr   string                   // of the HTTP server, on loopback
	dial   func() (net.Conn, error) // to the HTTP server
	pair   func() (s, c net.Conn)   // a raw connection's two ends
	size   int                      // of the buffers in memory
	last   *fault.Conn              // the server's end of the last dial in memory
	finish func()                   // stops the server
	before ledger.Resources
	number atomic.Int64
	calls  sync.Map // of *call by number
	wg     sync.WaitGroup
	users  []*user
}

// call is a handshake that has not ended.
type call struct {
	conn  chan *ledger.Conn
	added chan struct{}
}

// user is one connection of an id, from its peer's side.
type user struct {
	*peer.Peer
	id      string
	kind    kind
	ledger  *ledger.Conn
	server  *fault.Conn // the server's end, in memory
	reading bool
	err     error // the result of Run; read it after rig.done
}

// newRig returns a rig whose connections are in memory, with buffers of 64 KiB.
func newRig(t *testing.T, opts ...gcpool.Option) *rig {
	t.Helper()
	r := newIdle(t, opts...)
	r.pool.Start()
	return r
}

// newIdle is newRig without Start.
func newIdle(t *testing.T, opts ...gcpool.Option) *rig {
	t.Helper()
	l := fault.NewListener()
	r := &rig{t: t, size: 64 << 10, before: ledger.Measure(false)}
	r.dial = func() (c net.Conn, err error) {
		r.last, c = l.Dial(r.size)
		return c, nil
	}
	r.pair = func() (s, c net.Conn) {
		r.last, c = fault.Pipe(r.size)
		return r.last, c
	}
	r.open(l, opts)
	return r
}

// open makes the pool, and the server on l.
func (r *rig) open(l net.Listener, opts []gcpool.Option) {
	r.ledger = ledger.New()
	opts = append([]gcpool.Option{gcpool.WithLogger(slog.New(slog.DiscardHandler)),
		gcpool.WithUndelivered(r.ledger.Undelivered)}, opts...)
	r.pool = gcpool.NewPool(opts...)
	if err := r.pool.Register(name); err != nil {
		r.t.Fatal(err)
	}
	r.conns, r.stream = r.pool.GetConn(name), r.pool.GetStream(name)
	r.leave = func(string) {}
	r.read, r.after = lines, func() {}
	r.wrap = func(c net.Conn) net.Conn { return c }
	r.mux = http.NewServeMux()
	r.mux.Handle("/plain", websocket.Handler(r.handle))
	r.mux.Handle("/upgraded", gcpool.Upgrade(websocket.Handler(r.handle)))
	srv := &http.Server{Handler: r.mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l)
	}()
	r.finish = sync.OnceFunc(func() {
		srv.Close()
		<-done
	})
}

// lines reads lines, as the original README's handler does.
func lines(ws *websocket.Conn) {
	r := bufio.NewReader(ws)
	for {
		if _, err := r.ReadBytes('\n'); err != nil {
			return
		}
	}
}

// handle is the original README's handler.
func (r *rig) handle(ws *websocket.Conn) {
	id, n := ws.Request().FormValue("id"), ws.Request().FormValue("n")
	if n == "bare" {
		r.conns.Add(id, ws)
		defer r.conns.Del(id)
		r.read(ws)
		return
	}
	v, ok := r.calls.Load(n)
	if !ok {
		r.ledger.Breach("a handshake from nowhere: %q", n)
		return
	}
	c := v.(*call)
	if len(n)%2 == 1 {
		ws.PayloadType = websocket.BinaryFrame
	}
	r.ledger.Connect(id, func(lc *ledger.Conn) error {
		c.conn <- lc
		return r.conns.Add(id, ws)
	})
	close(c.added)
	defer r.conns.Del(id)
	defer r.leave(id)
	r.read(ws)
}

// connect connects id, and returns when ConnPool.Add has returned. It does not read yet.
func (r *rig) connect(id string, k kind) *user {
	r.t.Helper()
	u := &user{id: id, kind: k}
	if k == raw {
		s, c := r.pair()
		u.Peer, u.server = peer.Raw(r.wrap(c)), r.last
		if err := r.addRaw(u, s); err != nil {
			r.t.Fatal(err)
		}
	} else {
		conn, err := r.dial()
		if err != nil {
			r.t.Fatal(err)
		}
		u.server = r.last
		r.join(u, r.wrap(conn))
	}
	r.users = append(r.users, u)
	return u
}

// addRaw adds a raw connection on its own goroutine, so that a Del by
// the test does not count as a Del by the owner.
func (r *rig) addRaw(u *user, conn net.Conn) error {
	added := make(chan error)
	go func() {
		_, err := r.ledger.Connect(u.id, func(lc *ledger.Conn) error {
			u.ledger = lc
			return r.conns.Add(u.id, conn)
		})
		added <- err
	}()
	return <-added
}

// join opens a WebSocket on conn.
func (r *rig) join(u *user, conn net.Conn) {
	r.t.Helper()
	n := fmt.Sprint(r.number.Add(1))
	c := &call{make(chan *ledger.Conn, 1), make(chan struct{})}
	r.calls.Store(n, c)
	p, err := peer.Dial(conn, fmt.Sprintf("/%v?id=%s&n=%s", u.kind, url.QueryEscape(u.id), n))
	if err != nil {
		r.t.Fatal(err)
	}
	<-c.added
	u.Peer, u.ledger = p, <-c.conn
	r.calls.Delete(n)
}

// reader connects id and reads everything that arrives.
func (r *rig) reader(id string, k kind) *user {
	r.t.Helper()
	u := r.connect(id, k)
	r.run(u)
	return u
}

// run makes u read to the end.
func (r *rig) run(u *user) {
	u.reading = true
	r.wg.Go(func() { u.err = u.Run(u.ledger) })
}

// push adds a message and fails the test on an error.
func (r *rig) push(producer uint32, id string, size int) {
	r.t.Helper()
	if err := r.add(context.Background(), producer, id, size); err != nil {
		r.t.Fatalf("Add for %.40q: %v", id, err)
	}
}

func (r *rig) add(ctx context.Context, producer uint32, id string, size int) error {
	return r.ledger.Stream(producer, id).Add(size, func(data []byte) error {
		return r.stream.AddContext(ctx, id, data)
	})
}

func (r *rig) deliver(producer uint32, id string, size int) error {
	return r.ledger.Stream(producer, id).Deliver(size, func(data []byte) error {
		return r.stream.Deliver(context.Background(), id, data)
	})
}

func (r *rig) stats() gcpool.Stats {
	s := r.pool.Stats()[0]
	r.ledger.Sample(s, r.bounds)
	return s
}
