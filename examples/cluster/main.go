// Cluster shows gcpool on many machines: three nodes, here in one process on three ports,
// and NATS between them. People sign in on any node, see which node everybody is on, and
// push messages to one person or to all.
//
//	go run ./examples/cluster
//
// NATS is embedded, and only this process can reach it. With -nats the nodes use a running
// server, so that several processes, each with its -name, form one cluster.
//
// nodes.go starts and stops the nodes, bus.go connects them to NATS, and directory.go finds
// out who is connected where. app.go is the server of examples/push on a node, with the same
// page, from examples/push/page.
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
	"strconv"
	"syscall"

	"github.com/nulijiabei/gcpool/examples/push/page"
)

// count is how many nodes there are.
const count = 3

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process around it: it serves until ctx ends, and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "localhost:8080", "the `host:port` of the first node; the others get the next ports, and with port 0 each a free one")
	url := flags.String("nats", "", "the `URL` of a NATS server; without it one is embedded")
	name := flags.String("name", "node", "the `name` of the nodes, to which each adds its number")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "cluster: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	if err := serve(ctx, *addr, *url, *name, stdout); err != nil {
		fmt.Fprintf(stderr, "cluster: %v\n", err)
		return 1
	}
	return 0
}

// serve starts everything, and ends it in the reverse order when ctx ends.
func serve(ctx context.Context, addr, url, name string, stdout io.Writer) (err error) {
	listeners, err := listen(addr)
	if err != nil {
		return fmt.Errorf("%w (choose another address with -addr)", err)
	}
	defer closeAll(listeners)
	b, err := openBus(url)
	if err != nil {
		return err
	}
	defer b.close()
	nodes, err := start(b, name, listeners)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "cluster: NATS is %s\n", b)
	for i, n := range nodes {
		fmt.Fprintf(stdout, "cluster: %s is at %s\n", n.member.Name(), page.Link(addr, listeners[i].Addr()))
	}
	fmt.Fprintln(stdout, "cluster: open them in a browser, and be somebody else on each")
	return errors.Join(nodes.serve(ctx), nodes.end())
}

// listen opens the ports of all nodes, or of none.
func listen(addr string) (all []net.Listener, err error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	first, err := net.LookupPort("tcp", service)
	if err != nil {
		return nil, err
	}
	for i := range count {
		port := 0
		if first > 0 {
			port = first + i
		}
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, listener)
	}
	return all, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close() // fails if a server has already closed it
	}
}
