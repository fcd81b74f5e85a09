// Push is a server whose users push messages to each other, and see the outcome of each:
//
//	go run ./examples/push
//
// Everything about gcpool is in this file. Sessions, HTML and the list of people are in page/.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
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

type server struct {
	page   *page.Page
	pool   *gcpool.Pool
	conns  *gcpool.ConnPool   // to add and remove connections
	stream *gcpool.StreamPool // to push
}

// newServer starts a pool in which the id of a connection is the name of its user.
func newServer() (*server, error) {
	s := &server{page: page.New(page.Config{}), pool: gcpool.NewPool()}
	err := s.pool.Register(page.Pool, gcpool.WithPresence(s.presence), gcpool.WithUndelivered(s.undelivered))
	if err != nil {
		return nil, err
	}
	s.conns, s.stream = s.pool.GetConn(page.Pool), s.pool.GetStream(page.Pool)
	s.pool.Start()
	return s, nil
}

func (s *server) handler() http.Handler {
	return s.page.Handler(gcpool.Upgrade(websocket.Server{Handshake: s.handshake, Handler: s.connected}), dashboard.Handler(s.pool))
}

// handshake lets in users who have signed in, from a page of this server. Pages on other ports of
// this host share its cookies, and may just have signed in as another user. So a page sends the
// name that it believes to be its user's, and cannot take over another user's connection by
// mistake.
func (s *server) handshake(config *websocket.Config, r *http.Request) error {
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
func (s *server) connected(ws *websocket.Conn) {
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
func (s *server) take(from string, lanes *page.Lanes, line []byte) {
	r, problem := page.ReadRequest(line)
	if problem != "" {
		s.tell(from, page.Outcome(r, problem, false), patience)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	started := lanes.Run(ctx, r.To, func() {
		defer cancel()
		err := s.push(ctx, from, r)
		s.tell(from, page.Outcome(r, page.Reason(r.To, err), false), patience)
	})
	if !started {
		cancel()
		s.tell(from, page.Outcome(r, "Too many of your messages still wait for slow recipients.", false), patience)
	}
}

// push sends a message and returns its outcome. For a message to everyone, nil means that all
// outboxes have taken it; undelivered is then called for each user who does not get it.
func (s *server) push(ctx context.Context, from string, r page.Request) error {
	if r.To == page.Everyone {
		return s.stream.BroadcastContext(ctx, page.Message(from, r))
	}
	return s.stream.Deliver(ctx, r.To, page.Message(from, r))
}

// tell pushes a line to a user, and waits a while for room if the user reads slowly.
func (s *server) tell(name string, line []byte, wait time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	s.stream.AddContext(ctx, name, line) // if it fails, there is nobody to tell
}

// presence is called when a user has come or gone. All users get a new list.
func (s *server) presence(string, string, bool) { s.page.Changed() }

// undelivered is called for each message that was not delivered and that no Deliver waits
// for. It tells the sender. The calls come one after the other, so it must not wait long.
func (s *server) undelivered(u gcpool.Undelivered) {
	if from, line, ok := page.Undelivered(u.ID, u.Data, page.Reason(u.ID, u.Err), false); ok {
		s.tell(from, line, 100*time.Millisecond)
	}
}

// serve serves until ctx ends. Then it stops accepting connections, and tells the connected users
// that the server is going away.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	listing, stop := context.WithCancel(ctx)
	var lists sync.WaitGroup
	lists.Go(func() { s.page.Announce(listing, s.conns, s.stream) })
	err := page.Serve(ctx, listener, s.handler())
	stop()
	lists.Wait()
	goodbye, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if e := s.pool.Shutdown(goodbye); !errors.Is(e, context.DeadlineExceeded) { // a browser that is asleep does not answer
		err = errors.Join(err, e)
	}
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process around it: it serves until ctx ends, and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("push", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "localhost:8080", "the `host:port` to listen on")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	s, err := newServer()
	if flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err == nil {
		var listener net.Listener
		if listener, err = net.Listen("tcp", *addr); err == nil {
			fmt.Fprintf(stdout, "push: open %s in a browser\n", page.Link(*addr, listener.Addr()))
			err = s.serve(ctx, listener)
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "push: %v\n", err)
		return 1
	}
	return 0
}
