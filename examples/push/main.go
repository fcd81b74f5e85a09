// Push shows gcpool at work: people sign in with a name, see who is connected,
// and push messages to one of them or to all. Each message gets its outcome.
//
//	go run ./examples/push
//
// The server and the page are in examples/internal/people, since examples/cluster
// has the same.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/internal/people"
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
	s, err := people.New(gcpool.NewPool(), people.Config{})
	if err != nil {
		listener.Close()
		fmt.Fprintf(stderr, "push: %v\n", err)
		return 1
	}
	fmt.Fprintf(stdout, "push: open %s in a browser\n", people.Link(*addr, listener.Addr()))
	// In two steps: first nobody new is let in, then those who are connected are
	// told that the server goes away.
	err = people.Serve(ctx, listener, s.Handler())
	if err := errors.Join(err, s.Shutdown()); err != nil {
		fmt.Fprintf(stderr, "push: %v\n", err)
		return 1
	}
	return 0
}
