// Push shows gcpool at work: people sign in with a name, see who is connected,
// and push messages to one of them or to all. Each message gets its outcome.
//
//	go run ./examples/push
//
// The files: session.go says who a browser is, server.go has what it gets over
// HTTP, socket.go what goes over its WebSocket, lanes.go in which order it is
// pushed on, debug.go who may see the dashboard at /debug/gcpool, page.html is
// the page.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process around it: it serves until ctx ends and
// returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("push", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "localhost:8080", "the `host:port` to listen on")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "push: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		fmt.Fprintf(stderr, "push: %v (choose another address with -addr)\n", err)
		return 1
	}
	s, err := newServer()
	if err != nil {
		listener.Close()
		fmt.Fprintf(stderr, "push: %v\n", err)
		return 1
	}
	fmt.Fprintf(stdout, "push: open %s in a browser\n", link(*addr, listener.Addr()))
	if err := serve(ctx, s, listener); err != nil {
		fmt.Fprintf(stderr, "push: %v\n", err)
		return 1
	}
	return 0
}

// serve serves until ctx ends, and then ends in two steps: first nobody new is
// let in, then those who are connected are told that the server goes away.
func serve(ctx context.Context, s *server, listener net.Listener) error {
	web := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(listener) }()
	select {
	case err := <-ended:
		return errors.Join(err, s.shutdown())
	case <-ctx.Done():
	}
	quit, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if web.Shutdown(quit) != nil {
		web.Close() // a browser may hold a spare connection open for longer
	}
	<-ended
	// A browser that sleeps does not say goodbye; that is no failure of ours.
	if err := s.shutdown(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// link returns the URL of the page. The port is the listener's, for addr may
// name port 0.
func link(addr string, listening net.Addr) string {
	_, port, _ := net.SplitHostPort(listening.String())
	host, _, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
