package del

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	strict "github.com/nulijiabei/gcpool/torture/internal/peer"
)

// A kind is one way of handling connections.
type kind struct {
	name    string
	delConn bool // handlers use DelConn, not Del
	seen    bool // the pool sees when a handler returns
	open    func(s *site)
}

// A site is a pool with its server.
type site struct {
	t      *testing.T
	kind   kind
	pool   *gcpool.Pool
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
	on     func(call func())    // runs a call on the goroutine that adds and removes
	dial   func(v *visit) *peer // connects v's peer, and has v handled
	visits sync.Map             // of *visit by key
}

// openSite opens a site that ends with the test.
func openSite(t *testing.T, k kind, opts ...gcpool.Option) *site {
	t.Helper()
	opts = append(opts, gcpool.WithLogger(slog.New(slog.DiscardHandler)))
	s := &site{t: t, kind: k, pool: gcpool.NewPool(opts...), on: func(call func()) { call() }}
	if err := s.pool.Register("users"); err != nil {
		t.Fatal(err)
	}
	s.pool.Start()
	s.conns, s.stream = s.pool.GetConn("users"), s.pool.GetStream("users")
	k.open(s)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.pool.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return s
}

func key(v *visit) string { return fmt.Sprintf("id=%s&n=%d", v.id, v.n) }

// visit returns the visit with a key.
func (s *site) visit(key string) *visit {
	v, _ := s.visits.Load(key)
	return v.(*visit)
}

// web serves WebSockets with a handler.
func web(handler func(s *site) http.Handler) func(*site) {
	return func(s *site) {
		srv := httptest.NewServer(handler(s))
		s.t.Cleanup(srv.Close)
		s.dial = func(v *visit) *peer {
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				s.t.Error(err)
				return nil
			}
			ws, err := strict.Dial(conn, "/?"+key(v))
			if err != nil {
				s.t.Error(err)
				return nil
			}
			p := newPeer(conn, ws.Next, func(line string) error { return ws.Send(0x81, []byte(line)) })
			p.pings = ws.Pings.Load
			return p
		}
	}
}

// A peer is the other end of a connection.
type peer struct {
	conn  net.Conn
	got   chan string   // pushes that arrived
	over  chan struct{} // closed when the connection has ended
	send  func(line string) error
	pings func() int64 // how many have arrived
}

// newPeer returns a peer that reads with next until the end.
func newPeer(conn net.Conn, next func() ([]byte, error), send func(string) error) *peer {
	p := &peer{conn: conn, got: make(chan string, 1000), over: make(chan struct{}), send: send, pings: func() int64 { return 0 }}
	go func() {
		defer close(p.over)
		defer conn.Close()
		for {
			data, err := next()
			if err != nil {
				return
			}
			p.got <- string(data)
		}
	}()
	return p
}

// rawPeer returns the peer of a raw connection.
func rawPeer(conn net.Conn) *peer {
	r := bufio.NewReader(conn)
	next := func() ([]byte, error) {
		line, err := r.ReadString('\n')
		return []byte(strings.TrimSuffix(line, "\n")), err
	}
	return newPeer(conn, next, func(line string) error {
		_, err := conn.Write([]byte(line))
		return err
	})
}

// receive returns the next message.
func (p *peer) receive() string {
	select {
	case data := <-p.got:
		return data
	case <-time.After(patience):
		return "nothing"
	}
}
