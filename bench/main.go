// Bench compares gcpool with the libraries that you would use instead, on this machine. Run
// go run ./bench in the root of the repository.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/nulijiabei/gcpool/bench/internal/peers"
	"github.com/nulijiabei/gcpool/bench/internal/report"
	"github.com/nulijiabei/gcpool/bench/internal/suite"
)

func main() {
	if suite.Child(os.Args) {
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run runs the scenarios that the flags select. Its error is a fault of a peer or of the
// benchmark. A missed target is not an error.
func run() error {
	quick := flag.Bool("quick", false, "a smoke test in under a minute; saves nothing unless -out is given")
	names := flag.String("run", "", "scenarios to run, separated by commas (default all)")
	only := flag.String("peers", "", "peers to run, separated by commas (default all)")
	out := flag.String("out", "", "folder for results.json and the charts (default bench/results, if everything was run)")
	profiles := flag.String("profiles", "", "folder for CPU profiles of the server processes; each is one peer of one scenario")
	rounds := flag.Int("rounds", 0, "rounds of each scenario (default 5, with -quick 1)")
	flag.Parse()
	if *profiles != "" {
		if err := os.MkdirAll(*profiles, 0o755); err != nil {
			return err
		}
		if err := os.Setenv(suite.ProfilesIn, *profiles); err != nil {
			return err
		}
	}
	b := &suite.Bench{Rounds: 5, Window: 300 * time.Millisecond, Quick: *quick, Log: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "# "+format+"\n", args...)
	}}
	if *quick {
		b.Rounds, b.Window = 1, 100*time.Millisecond
	}
	if *rounds > 0 {
		b.Rounds = *rounds
	}
	var err error
	if b.Peers, err = choose(peers.All(), *only, func(p peers.Spec) string { return p.Name }); err != nil {
		return err
	}
	scenarios, err := choose(suite.Scenarios(), *names, func(s suite.Scenario) string { return s.Name })
	if err != nil {
		return err
	}
	if *out == "" && !*quick && *names == "" && *only == "" {
		*out = filepath.Join(home(), "results")
	}
	return measure(b, scenarios, *out)
}

// home returns the folder of the benchmark, whether the program runs in the repository's
// root or in that folder.
func home() string {
	if _, err := os.Stat(filepath.Join("bench", "go.mod")); err == nil {
		return "bench"
	}
	return "."
}

// measure runs the scenarios, and shows and saves their results.
func measure(b *suite.Bench, scenarios []suite.Scenario, out string) error {
	began := time.Now()
	r := &report.Report{
		Date:    began.UTC().Format(time.DateOnly),
		Machine: report.Here(),
		Go:      runtime.Version(),
		Modules: report.Versions(modules(b.Peers)),
		Command: command(),
		Quick:   b.Quick,
		Rounds:  b.Rounds,
	}
	r.Header(os.Stdout)
	for _, s := range scenarios {
		result, err := b.Run(s)
		r.Scenarios = append(r.Scenarios, result)
		result.Table(os.Stdout)
		if err != nil {
			return err
		}
	}
	r.Seconds = int(time.Since(began).Seconds())
	r.Libraries(os.Stdout)
	fmt.Printf("\n%d s, medians of %d rounds\n", r.Seconds, r.Rounds)
	if out != "" {
		if err := r.Save(out); err != nil {
			return err
		}
	}
	if failures := r.Failures(); len(failures) > 0 {
		return fmt.Errorf("the clients did not get what was sent:\n%s", strings.Join(failures, "\n"))
	}
	return nil
}

// choose returns the elements of all that are named in a list, in the order of all.
func choose[T any](all []T, names string, name func(T) string) (chosen []T, err error) {
	if names == "" {
		return all, nil
	}
	wanted := strings.Split(names, ",")
	for _, t := range all {
		if i := slices.Index(wanted, name(t)); i >= 0 {
			chosen = append(chosen, t)
			wanted = slices.Delete(wanted, i, i+1)
		}
	}
	if len(wanted) > 0 {
		return nil, fmt.Errorf("unknown: %s", strings.Join(wanted, ", "))
	}
	return chosen, nil
}

// command returns the command that repeats the run, without the folders for its files.
func command() string {
	text := "go run ./bench"
	flag.Visit(func(f *flag.Flag) {
		if f.Name != "out" && f.Name != "profiles" {
			text += " -" + f.Name + "=" + f.Value.String()
		}
	})
	return text
}

func modules(all []peers.Spec) (names []string) {
	for _, p := range all {
		names = append(names, p.Module)
	}
	return names
}
