// Soak lets gcpool serve thousands of real connections at full speed, while the peers stop
// reading, leave and come back. It judges every message, the resources that the process holds,
// and whatever gcpool leaves behind.
//
//	go run ./torture/soak -for 60s
//
// It exits with 1 if a promise was broken, and with 2 if its arguments were wrong. An interrupt
// ends it early, with a verdict.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// settings are what the flags say.
type settings struct {
	conns  int
	length time.Duration
	seed   uint64
	ending time.Duration // how long things may take to end
	meddle func(s *soak) // a test's own fault, once producers and users have ended; nil for none
}

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	set, err := parse(args, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(errs, "soak: %v\n", err)
		return 2
	}
	fmt.Fprintf(out, "%d connections for %v, seed %d\n", set.conns, set.length, set.seed)
	breaches, err := soakFor(ctx, set, out)
	switch {
	case err != nil:
		fmt.Fprintf(errs, "soak: %v\n", err)
		return 1
	case len(breaches) == 0:
		fmt.Fprintln(out, "verdict: nothing was broken")
		return 0
	}
	for _, b := range breaches {
		fmt.Fprintf(out, "broken: %s\n", b)
	}
	fmt.Fprintf(out, "verdict: BROKEN in %d ways\n", len(breaches))
	return 1
}

// parse reads the flags; help goes to out.
func parse(args []string, out io.Writer) (settings, error) {
	set := settings{ending: 30 * time.Second}
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&set.conns, "conns", 2000, "how many `connections`")
	f.DurationVar(&set.length, "for", time.Minute, "for how `long`")
	f.Uint64Var(&set.seed, "seed", 0, "the `seed` of all that is random; 0 picks one")
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(out)
		f.Usage()
		return set, err
	case err != nil:
		return set, err
	case f.NArg() > 0:
		return set, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case set.conns < lanes:
		return set, fmt.Errorf("-conns %d: at least %d", set.conns, lanes)
	case set.length < time.Second:
		return set, fmt.Errorf("-for %v: at least a second", set.length)
	}
	// Each connection has both ends in this process, and at times a successor.
	if need, limit := 5*set.conns/2+200, descriptors(); need > limit {
		return set, fmt.Errorf("-conns %d: that takes %d descriptors, and the limit is %d", set.conns, need, limit)
	}
	if set.seed == 0 {
		set.seed = rand.Uint64N(1e9)
	}
	return set, nil
}
