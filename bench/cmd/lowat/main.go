//go:build linux

// Lowat measures what gcpool's bound on unsent data (TCP_NOTSENT_LOWAT) costs, compared with
// no bound. Run go run ./bench/cmd/lowat in the root of the repository, on Linux. With -delay,
// server and peer are in two network namespaces, and every IP packet between them is delayed.
// That needs root and the program ip.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

func main() {
	var err error
	switch {
	case len(os.Args) > 2 && os.Args[1] == "server":
		err = until(serve, os.Args[2])
	case len(os.Args) > 2 && os.Args[1] == "peer":
		err = until(discard, os.Args[2])
	default:
		err = measure()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lowat:", err)
		os.Exit(1)
	}
}

// A load is what one run pushes. Both processes get it as JSON.
type load struct {
	Addr   string // of the server
	Size   int    // of a message
	Users  int
	Each   int // messages to each user
	Outbox int // 0 for the default
	Bound  int // bytes; 0 for the pool's own, none for no bound

	Congestion string // the server's algorithm; empty for the system's
}

const none = 1 << 30

// A result has the figures of one run.
type result struct {
	MBs      float64 // megabytes of payload a second, from the first Add to the last byte read
	Writes   float64 // write system calls of the server a second, including those that found no room
	Switches float64 // voluntary context switches of the server a second
	CPU      float64 // milliseconds of the server's CPU time per megabyte
}

// measure runs the cases that the flags select, and prints a row for each.
func measure() error {
	delay := flag.Duration("delay", 0, "delay of the line between server and peer, each way (default none: loopback)")
	mtu := flag.Int("mtu", 9000, "MTU of the line")
	sysctls := flag.String("sysctl", "", "settings of the line's two ends, name=value, separated by commas")
	sizes := flag.String("sizes", "64,256,1024", "sizes of messages in KiB")
	users := flag.Int("users", 1, "connected users")
	bytes := flag.Int("mb", 100, "megabytes that a run pushes to all users together")
	bounds := flag.String("bounds", "0,none", "bounds in KiB to compare with the last; 0 is the pool's own")
	outbox := flag.Int("outbox", 0, "WithOutbox in KiB (default the pool's own)")
	congestion := flag.String("congestion", "", "the server's congestion control (default the system's)")
	rounds := flag.Int("rounds", 7, "rounds; in each, every bound has its turn")
	flag.Parse()
	here, there := spawner(spawn), spawner(spawn)
	addr := "127.0.0.1:0"
	if *delay > 0 {
		var err error
		if here, there, err = newLine(*delay, *mtu, strings.FieldsFunc(*sysctls, comma)); err != nil {
			return err
		}
		addr = nearAddr + ":0"
	}
	fmt.Printf("%s, %d CPUs, delay %v each way, %d users, %d MB\n\n", runtime.Version(), runtime.NumCPU(), *delay, *users, *bytes)
	fmt.Println("| message | bound | MB/s | of none | pairs from | to | writes/s | sleeps/s | CPU ms/MB |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|")
	for _, size := range numbers(*sizes) {
		size *= 1 << 10
		l := load{Addr: addr, Size: size, Users: *users, Each: max(1, *bytes*1e6/size / *users), Outbox: *outbox << 10, Congestion: *congestion}
		if err := compare(l, numbers(*bounds), *rounds, here, there); err != nil {
			return err
		}
	}
	return nil
}

func comma(r rune) bool { return r == ',' }

// numbers parses a list of KiB. "none" becomes the constant none.
func numbers(list string) (all []int) {
	for _, field := range strings.FieldsFunc(list, comma) {
		n, err := strconv.Atoi(field)
		if err != nil {
			n = none >> 10
		}
		all = append(all, n)
	}
	return all
}

// compare runs l with each bound in turn, in an order that rotates.
func compare(l load, bounds []int, rounds int, here, there spawner) error {
	results := make([][]result, len(bounds))
	for round := range rounds {
		for i := range bounds {
			i = (i + round) % len(bounds)
			l.Bound = bounds[i] << 10
			r, err := run(l, here, there)
			if err != nil {
				return fmt.Errorf("%d KiB, bound %s: %w", l.Size>>10, label(bounds[i]), err)
			}
			results[i] = append(results[i], r)
		}
	}
	last := results[len(bounds)-1]
	for i, of := range results {
		ratios := make([]float64, rounds)
		for round := range of {
			ratios[round] = of[round].MBs / last[round].MBs
		}
		fmt.Printf("| %d KiB | %s | %.0f | %.2f | %.2f | %.2f | %.0f | %.0f | %.2f |\n", l.Size>>10, label(bounds[i]),
			median(of, func(r result) float64 { return r.MBs }), middle(ratios), slices.Min(ratios), slices.Max(ratios),
			median(of, func(r result) float64 { return r.Writes }), median(of, func(r result) float64 { return r.Switches }),
			median(of, func(r result) float64 { return r.CPU }))
	}
	return nil
}

func label(bound int) string {
	switch bound {
	case 0:
		return "the pool's"
	case none >> 10:
		return "none"
	}
	return fmt.Sprintf("%d KiB", bound)
}

func median(of []result, field func(result) float64) float64 {
	all := make([]float64, len(of))
	for i, r := range of {
		all[i] = field(r)
	}
	return middle(all)
}

func middle(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
