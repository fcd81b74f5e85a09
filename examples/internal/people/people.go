// Package people is the server and the page that the examples share: people sign
// in with a name, see who is connected, and push messages to one of them or to
// all. Each message gets its outcome.
//
// The files: session.go says who a browser is, web.go has what it gets over HTTP,
// socket.go what goes over its WebSocket, lanes.go in which order it is pushed on,
// list.go who is connected, debug.go who may see the dashboard at /debug/gcpool,
// serve.go is the life of an HTTP server. page.html, with its style and script
// from beside it, is the page.
package people

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool"
)

// Pool is the name under which the people are registered in a server's pool.
const Pool = "people"

// A Config says what a [Server] is part of. The zero value is a server alone.
type Config struct {
	// Key signs the sessions. Servers on one host need the same, see [NewKey], for
	// browsers do not keep cookies apart by port. Nil is a new one.
	Key []byte
	// Node is what this server is called in its cluster, and Nodes are those that
	// the page links to; both are empty for a server alone.
	Node  string
	Nodes []Node
	// Directory knows who is connected in the cluster; nil is who is connected here.
	Directory Directory
	// Explain, if it is not nil, puts outcomes into words that only a cluster has,
	// and reports whether the message may have been delivered all the same. It
	// returns "" for all others.
	Explain func(to string, err error) (why string, uncertain bool)
}

// A Node is a server of a cluster, on the same host as the others.
type Node struct {
	Name string `json:"name"`
	Port int    `json:"port"`
}

// A Server is the application: one pool, named people, in which the id of a
// connection is the name of the person.
type Server struct {
	config   Config
	sessions *sessions
	pool     *gcpool.Pool
	conns    *gcpool.ConnPool
	stream   *gcpool.StreamPool

	changed chan struct{} // who is connected here has changed since the last list
	last    []byte        // the last list; announce's
	stop    context.CancelFunc
	wg      sync.WaitGroup // of announce
}

// New registers the people in pool, which should be new, and starts it. The
// Server needs a Shutdown.
func New(pool *gcpool.Pool, c Config) (*Server, error) {
	if c.Key == nil {
		c.Key = NewKey()
	}
	s := &Server{
		config:   c,
		sessions: newSessions(c.Key),
		pool:     pool,
		changed:  make(chan struct{}, 1),
	}
	err := pool.Register(Pool,
		gcpool.WithPresence(func(string, string, bool) { s.mark() }),
		gcpool.WithUndelivered(s.undelivered))
	if err != nil {
		return nil, err
	}
	s.conns, s.stream = pool.GetConn(Pool), pool.GetStream(Pool)
	pool.Start()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.wg.Go(func() { s.announce(ctx) })
	return s, nil
}

// Shutdown tells the people who are connected that the server goes away, and
// waits up to five seconds for their goodbyes. A browser that sleeps does not say
// one; that is no failure of ours, and no error.
func (s *Server) Shutdown() error {
	s.stop()
	s.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.pool.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}
