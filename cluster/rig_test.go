package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
	"go.uber.org/goleak"
	"golang.org/x/net/websocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "users"

// serve starts a NATS server on a free port. With routes, it is one server of a cluster.
func serve(t testing.TB, edit func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true}
	if edit != nil {
		edit(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("no NATS server")
	}
	return s
}

// freePort returns a port on which nothing listens, for a server that must
// come back on it. The port is below those that the system gives to
// connections, one of which might take it in the meantime. The tests of other
// packages, which may run at the same time, look for ports above these.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 5000 + rand.N(2500)
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("there is no free port")
	return 0
}

// serveCluster starts NATS servers with routes between them. The route of the last two goes
// through a proxy if via is not nil.
func serveCluster(t testing.TB, n int, via **proxy) []*server.Server {
	t.Helper()
	var all []*server.Server
	var routes []string
	for i := range n {
		s := serve(t, func(o *server.Options) {
			o.ServerName = fmt.Sprint("s", i)
			o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: server.RANDOM_PORT, PoolSize: -1, NoAdvertise: true}
			o.Routes = server.RoutesFromStr(strings.Join(routes, ","))
		})
		all = append(all, s)
		route := "nats://" + s.ClusterAddr().String()
		if via != nil && i == n-2 {
			*via = through(t, s.ClusterAddr().String())
			route = (*via).url()
		}
		routes = append(routes, route)
	}
	eventually(t, "routes", func() bool {
		for _, s := range all {
			if s.NumRoutes() != n-1 {
				return false
			}
		}
		return true
	})
	return all
}

// A site is a node with its pool, HTTP server and connection to NATS.
type site struct {
	*Node
	t      testing.TB
	pool   *gcpool.Pool
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
	nc     *nats.Conn
	url    string
	number int
	joins  sync.Map
}

// connect connects to NATS as the README recommends, except for PingInterval: a server that a
// test, or a busy machine, holds up for seconds must not be given up.
func connect(t testing.TB, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond), nats.ReconnectJitter(0, 0)}, opts...)
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// join starts a node.
func join(t testing.TB, url string, opts ...gcpool.Option) *site { return joinAs(t, url, nil, opts...) }

func joinAs(t testing.TB, url string, options []Option, opts ...gcpool.Option) *site {
	t.Helper()
	s := &site{t: t, nc: connect(t, url)}
	quiet := slog.New(slog.DiscardHandler)
	s.pool = gcpool.NewPool(append([]gcpool.Option{gcpool.WithLogger(quiet)}, opts...)...)
	if err := s.pool.Register(name); err != nil {
		t.Fatal(err)
	}
	s.conns, s.stream = s.pool.GetConn(name), s.pool.GetStream(name)
	var err error
	if s.Node, err = Join(s.pool, s.nc, append([]Option{WithLogger(quiet)}, options...)...); err != nil {
		t.Fatal(err)
	}
	s.pool.Start()
	srv := httptest.NewServer(gcpool.Upgrade(websocket.Handler(s.handle)))
	s.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.empty()
		s.pool.Shutdown(ctx)
		if err := s.Leave(ctx); err != nil {
			t.Errorf("Leave: %v", err)
		}
		srv.Close()
		s.check()
	})
	return s
}

// empty removes all users, and waits up to a second until the node
// has announced that, so Leave need not hold their ids.
func (s *site) empty() {
	for id := range s.conns.All() {
		s.conns.Kick(id, 1000, "")
	}
	for end := time.Now().Add(time.Second); s.ids.Load() > 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// handle is the original README's handler, except that it checks what Add returns.
func (s *site) handle(ws *websocket.Conn) {
	id := ws.Request().FormValue("id")
	add := func() error {
		err := s.conns.Add(id, ws)
		if err != nil {
			ws.Close() // or a user who comes during Shutdown would wait forever
		}
		return err
	}
	if v, ok := s.joins.Load(ws.Request().FormValue("n")); ok {
		v.(func(func() error))(add)
	} else {
		add()
	}
	defer s.conns.Del(id)
	io.Copy(io.Discard, bufio.NewReader(ws))
}

// check fails the test unless Stats adds up.
func (s *site) check() {
	s.t.Helper()
	st := s.stats()
	if st.Accepted != st.Written+st.Forwarded+st.Undelivered+uint64(st.Waiting) {
		s.t.Errorf("Stats do not add up: %+v", st)
	}
}

func (s *site) stats() gcpool.Stats { return s.pool.Stats()[0] }

// A user is a WebSocket client.
type user struct {
	*websocket.Conn
	t testing.TB
}

// dial connects id, and returns once all sites know.
func (s *site) dial(id string) *user {
	s.t.Helper()
	s.number++
	n, added := fmt.Sprint(s.number), make(chan error, 1)
	s.joins.Store(n, func(add func() error) { added <- add() })
	u := s.open(id, n)
	if err := <-added; err != nil {
		s.t.Fatal(err)
	}
	return u
}

// arrives opens a connection for id. The returned add adds it to the pool.
func (s *site) arrives(id string) (u *user, add func() error) {
	s.t.Helper()
	s.number++
	n, goes, added := fmt.Sprint(s.number), make(chan struct{}), make(chan error, 1)
	s.joins.Store(n, func(add func() error) {
		<-goes
		added <- add()
	})
	return s.open(id, n), func() error {
		close(goes)
		return <-added
	}
}

// knownTo waits until o takes what s sends.
func (s *site) knownTo(o *site) {
	s.t.Helper()
	eventually(s.t, "they know each other", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.strangerLocked(o.id)
	})
}

// remembers makes s remember where ids were last, however slow the test is.
func (s *site) remembers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotated = time.Now().Add(time.Hour)
}

func (s *site) open(id, n string) *user {
	s.t.Helper()
	ws, err := websocket.Dial(s.url+"/?id="+url.QueryEscape(id)+"&n="+n, "", "http://localhost")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { ws.Close() })
	return &user{ws, s.t}
}

// read returns the next message, without its newline.
func (u *user) read() string {
	u.t.Helper()
	u.SetReadDeadline(time.Now().Add(20 * time.Second))
	var s string
	if err := websocket.Message.Receive(u.Conn, &s); err != nil {
		u.t.Fatalf("Receive: %v", err)
	}
	return strings.TrimSuffix(s, "\n")
}

// ends fails the test unless the server closes the connection.
func (u *user) ends() {
	u.t.Helper()
	u.SetReadDeadline(time.Now().Add(20 * time.Second))
	var s string
	if err := websocket.Message.Receive(u.Conn, &s); err != io.EOF {
		u.t.Errorf("not closed: %q, %v", s, err)
	}
}

// eventually polls until ok returns true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// known waits until each site finds id at s.
func (s *site) known(id string, sites ...*site) {
	s.t.Helper()
	for _, o := range sites {
		eventually(s.t, "node knows of "+id, func() bool {
			where, err := o.Where(context.Background(), name, id)
			return err == nil && where == s.Name()
		})
	}
}

// addAtOnce connects ids, of which the node learns only once all are connected.
func (s *site) addAtOnce(ids ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		conn := pipe(s.t)
		go s.conns.Add(id, conn)
	}
	eventually(s.t, "all are here", func() bool { return s.conns.Len() >= len(ids) })
	time.Sleep(10 * time.Millisecond) // makes them acquire mu ahead of the announcer
}

// newPipe connects id with a raw connection, and returns a channel for the next thing written.
func newPipe(t testing.TB, s *site, id string) <-chan string {
	t.Helper()
	conn, peer := net.Pipe()
	if err := s.conns.Add(id, conn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	got := make(chan string, 1)
	go func() {
		b := make([]byte, 64<<10)
		n, _ := peer.Read(b)
		got <- string(b[:n])
	}()
	return got
}

// pipe returns a raw connection whose peer never reads.
func pipe(t testing.TB) net.Conn {
	ours, peer := net.Pipe()
	t.Cleanup(func() { peer.Close() })
	return ours
}
