package main

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/dashboard"
	"github.com/nulijiabei/gcpool/examples/push/page"
	"golang.org/x/net/websocket"
)

const (
	lineMax  = 64 << 10        // bytes of a line from a browser, its newline included
	patience = 5 * time.Second // how long a push may take
	tooBig   = 1009            // RFC 6455 section 7.4.1
	expired  = 4001            // the session has expired; the client comes back, and signs in again
)

// An app is the server of examples/push, on one node.
type app struct {
	page   *page.Page
	pool   *gcpool.Pool
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
	reason func(to string, err error) (why string, uncertain bool)
	end    func()         // ends the announcing of lists
	lists  sync.WaitGroup // waits for that end
}

// newApp starts an app on a pool that has joined the cluster.
func newApp(pool *gcpool.Pool, c page.Config, reason func(string, error) (string, bool)) (*app, error) {
	s := &app{page: page.New(c), pool: pool, reason: reason}
	err := s.pool.Register(page.Pool, gcpool.WithPresence(s.presence), gcpool.WithUndelivered(s.undelivered))
	if err != nil {
		return nil, err
	}
	s.conns, s.stream = s.pool.GetConn(page.Pool), s.pool.GetStream(page.Pool)
	s.pool.Start()
	ctx, cancel := context.WithCancel(context.Background())
	s.end = cancel
	s.lists.Go(func() { s.page.Announce(ctx, s.conns, s.stream) })
	return s, nil
}

func (s *app) handler() http.Handler {
	ws := websocket.Server{Handshake: s.handshake, Handler: s.connected}
	return s.page.Handler(gcpool.Upgrade(ws), dashboard.Handler(s.pool))
}

// handshake lets in users who have signed in, from a page of this server. Pages on other ports of
// this host share its cookies, and may just have signed in as another user. So a page sends the
// name that it believes to be its user's, and cannot take over another user's connection by
// mistake.
func (s *app) handshake(config *websocket.Config, r *http.Request) error {
	if err := gcpool.SameOrigin(config, r); err != nil {
		return err
	}
	who, err := s.page.Session(r)
	if as := r.URL.Query(); err == nil && as.Has("as") && as.Get("as") != who.Name {
		return errors.New("signed in as somebody else")
	}
	return err
}

// connected serves one connection until it ends.
func (s *app) connected(ws *websocket.Conn) {
	who, err := s.page.Session(ws.Request())
	if err != nil {
		return
	}
	ws.SetReadDeadline(who.Expires)
	lanes := page.NewLanes()
	defer lanes.Wait()
	if s.conns.Add(who.Name, ws) != nil {
		return // the server is shutting down
	}
	defer s.conns.Del(who.Name) // never removes a newer connection
	s.tell(who.Name, s.page.Hello(who.Name), patience)
	s.page.Changed() // a takeover is not a presence event, but the new page needs the list

	lines := bufio.NewScanner(ws) // ReadBytes would buffer a line that never ends
	lines.Buffer(nil, lineMax)
	for lines.Scan() {
		s.take(who.Name, lanes, lines.Bytes())
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		ws.WriteClose(tooBig)
	case errors.Is(err, os.ErrDeadlineExceeded):
		ws.WriteClose(expired)
	}
}

// take serves one line. It waits for recipients for at most patience. Meanwhile the sender's next
// lines wait in its socket.
func (s *app) take(from string, lanes *page.Lanes, line []byte) {
	r, problem := page.ReadRequest(line)
	if problem != "" {
		s.tell(from, page.Outcome(r, problem, false), patience)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	started := lanes.Run(ctx, r.To, func() {
		defer cancel()
		why, uncertain := s.reason(r.To, s.push(ctx, from, r))
		s.tell(from, page.Outcome(r, why, uncertain), patience)
	})
	if !started {
		cancel()
		s.tell(from, page.Outcome(r, "Too many of your messages still wait for slow recipients.", false), patience)
	}
}

// push sends a message and returns its outcome. For a message to everyone, nil means that all
// outboxes have taken it; undelivered is then called for each user who does not get it.
func (s *app) push(ctx context.Context, from string, r page.Request) error {
	if r.To == page.Everyone {
		return s.stream.BroadcastContext(ctx, page.Message(from, r))
	}
	return s.stream.Deliver(ctx, r.To, page.Message(from, r))
}

// tell pushes a line to a user, and waits a while for room if the user reads slowly.
func (s *app) tell(name string, line []byte, wait time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	s.stream.AddContext(ctx, name, line) // if it fails, there is nobody to tell
}

// presence is called when a user has come or gone. All users get a new list.
func (s *app) presence(string, string, bool) { s.page.Changed() }

// undelivered is called for each message that was not delivered and that no Deliver waits
// for. It tells the sender. The calls come one after the other, so it must not wait long.
func (s *app) undelivered(u gcpool.Undelivered) {
	why, uncertain := s.reason(u.ID, u.Err)
	if from, line, ok := page.Undelivered(u.ID, u.Data, why, uncertain); ok {
		s.tell(from, line, 100*time.Millisecond)
	}
}

// shutdown tells the connected people that the node is going away.
func (s *app) shutdown() error {
	s.end()
	s.lists.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	if err := s.pool.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) { // a browser that is asleep does not answer
		return err
	}
	return nil
}
