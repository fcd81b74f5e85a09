//go:build unix

// Torture runs a cluster as its users do: three nodes and three nats-servers, each in a process of
// its own. It breaks something, and judges what the users of the nodes received.
//
//	go run ./torture -fault route-cut -for 20s
//
// It needs Unix, because it stops processes. Without -fault it runs all faults in turn.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"time"
)

func main() {
	if os.Getenv(nodeEnv) != "" {
		runNode()
		return
	}
	name := flag.String("fault", "", "one of the faults; all by default")
	lasts := flag.Duration("for", 20*time.Second, "how long each is repeated")
	users := flag.Int("users", 60, "how many users move about")
	wait := flag.Duration("wait", 0, "a user whose connection ends waits for a random time up to this before she comes back")
	kernel := flag.Bool("packets", false, "break links in the kernel, not in proxies: needs root on Linux, and nft")
	flag.Parse()
	if *kernel && os.Getenv(namespaceEnv) == "" {
		if err := inNamespace(); err != nil {
			log.Fatal(err)
		}
		return
	}
	failed := false
	for _, f := range faults {
		if f.name != cmp.Or(*name, f.name) {
			continue
		}
		v, err := torture(f, *lasts, *users, *wait)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(v)
		failed = failed || len(v.breaches) > 0
	}
	if !slices.ContainsFunc(faults, func(f fault) bool { return f.name == cmp.Or(*name, f.name) }) {
		log.Fatalf("no fault %q", *name)
	}
	if failed {
		os.Exit(1)
	}
}

// torture starts a fleet and repeats a fault, at least once, until lasts has passed.
func torture(f fault, lasts time.Duration, users int, wait time.Duration) (*verdict, error) {
	v := newVerdict(f.name)
	fl, err := start(f.setup, v)
	if err != nil {
		return nil, err
	}
	defer fl.end()
	load := gather(fl, v, users, wait)
	defer load.end()
	if err := fl.reached(users); err != nil {
		return nil, fmt.Errorf("before any fault: %w", err)
	}
	fl.load(users)
	for end := time.Now().Add(lasts); ; {
		load.moving.Store(true)
		time.Sleep(time.Second) // of moves without a fault
		if err := f.do(fl); err != nil {
			return nil, err
		}
		load.moving.Store(false)
		over := time.Now()
		if err := fl.reached(users); err != nil {
			v.breach("%v", err)
		}
		v.recovered(time.Since(over))
		if time.Now().After(end) {
			break
		}
	}
	fl.tell("quiet")
	fl.settle(users)
	return v, nil
}
