// Tabs pushes to all tabs of a user. In gcpool an id has one connection, so each tab has an
// id of its own, such as "alice/1", and the server keeps a list of each user's ids.
//
//	SERVICE_KEY=secret go run ./examples/recipes/tabs
//	go run ./examples/recipes/connect -session demo-alice 'ws://localhost:8080/ws?tab=1'
//	go run ./examples/recipes/connect -session demo-alice 'ws://localhost:8080/ws?tab=2'
//	curl -i -H 'Authorization: Bearer secret' -d 'lunch?' http://localhost:8080/push/alice
//
// The answer is "delivered to 2 of 2 tabs". A page names its tab when it is loaded, and keeps
// the name, so that it takes over its own connection when it comes back. The name must not be in
// sessionStorage, which browsers copy to a duplicate of the tab:
//
//	const tab = crypto.randomUUID();
//	const connect = () => new WebSocket(`wss://${location.host}/ws?tab=${tab}`);
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/recipes/internal/demo"
	"golang.org/x/net/websocket"
)

const (
	tabsMax = 8  // of one user; a few more if several connect at the same moment
	nameMax = 40 // bytes of a tab's name
)

func main() { demo.Main("tabs", serve) }

func serve(ctx context.Context, listener net.Listener) error {
	s := &server{open: make(map[string][]string)}
	pool := gcpool.NewPool(gcpool.WithPresence(s.changed))
	if err := pool.Register("tabs"); err != nil {
		return err
	}
	pool.Start()
	s.conns, s.stream = pool.GetConn("tabs"), pool.GetStream("tabs")
	mux := http.NewServeMux()
	mux.Handle("GET /ws", gcpool.Upgrade(websocket.Server{Handshake: demo.Handshake, Handler: s.connected}))
	mux.HandleFunc("POST /push/{user}", demo.Services(s.push))
	return demo.Serve(ctx, listener, mux, pool)
}

type server struct {
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool

	mu   sync.Mutex
	open map[string][]string // the ids of each user
}

// connected serves a tab. The page chooses the tab's name, but the user comes from the
// session, so nobody can take the id of another user's tab. User names have no slash.
func (s *server) connected(ws *websocket.Conn) {
	user, tab := demo.UserOf(ws.Request()), ws.Request().FormValue("tab")
	id := user + "/" + tab
	if tab == "" || len(tab) > nameMax || len(s.ids(user)) >= tabsMax && s.conns.Connected(id) == 0 {
		return
	}
	if s.conns.Add(id, ws) == nil {
		defer s.conns.Del(id)
		io.Copy(io.Discard, ws) // until the tab is closed; reading answers pings
	}
}

// changed keeps the list. The pool calls it when an id comes or goes, but not when a tab
// that comes back takes over its own connection.
func (s *server) changed(_, id string, connected bool) {
	user, _, _ := strings.Cut(id, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	if connected {
		s.open[user] = append(s.open[user], id)
		return
	}
	if s.open[user] = slices.DeleteFunc(s.open[user], func(open string) bool { return open == id }); len(s.open[user]) == 0 {
		delete(s.open, user)
	}
}

func (s *server) ids(user string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.open[user])
}

// push sends to all tabs at once, so that a slow tab delays no other.
func (s *server) push(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<10))
	if err != nil {
		http.Error(w, "at most 16 KiB", http.StatusRequestEntityTooLarge)
		return
	}
	text = []byte(strings.ToValidUTF8(string(text), "?")) // or the browser would hang up
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	var delivered atomic.Int64
	var wg sync.WaitGroup
	ids := s.ids(r.PathValue("user"))
	for _, id := range ids {
		wg.Go(func() {
			if s.stream.Deliver(ctx, id, text) == nil {
				delivered.Add(1)
			}
		})
	}
	wg.Wait()
	fmt.Fprintf(w, "delivered to %d of %d tabs\n", delivered.Load(), len(ids))
}
