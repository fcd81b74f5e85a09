// Idle accounts for the memory of an idle connection, byte by byte: its allocations, who
// made them, and the stacks of its goroutines. It prints a table in Markdown. Run
// go run ./bench/cmd/idle in the root of the repository.
//
// The server is one process, which records every allocation; the clients are another. The
// table shows the difference between the server with connections and without, divided by
// the number of connections.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/nulijiabei/gcpool/bench/internal/peers"
	"github.com/nulijiabei/gcpool/bench/internal/suite"
)

func main() {
	if suite.Child(os.Args) {
		return
	}
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

func run(w io.Writer) error {
	names := flag.String("peers", "gcpool,gorilla+gcpool,coder+gcpool,gws+gcpool", "peers, separated by commas")
	users := flag.Int("users", 5000, "connections")
	greet := flag.Bool("greet", true, "send one message to each connection first")
	sites := flag.Bool("sites", false, "also show each call stack that allocated at least 4 B a connection")
	flag.Parse()
	var all []*account
	for name := range strings.SplitSeq(*names, ",") {
		spec, err := peers.Find(name)
		if err != nil {
			return err
		}
		before, after, err := suite.Account(spec, *users, *greet)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, newAccount(name, *users, before, after))
	}
	table(w, all)
	for _, a := range all {
		a.print(w, *sites)
	}
	return nil
}

// table prints the groups, with a column for each peer.
func table(w io.Writer, all []*account) {
	groups := slices.Clone(all[0].groups)
	for _, a := range all[1:] {
		for _, g := range a.groups {
			if !slices.Contains(groups, g) {
				groups = append(groups, g)
			}
		}
	}
	slices.SortStableFunc(groups, func(a, b group) int { return a.order - b.order })
	head, rule := "| what | whose |", "|---|---|"
	for _, a := range all {
		head, rule = head+" "+a.name+" |", rule+"---:|"
	}
	fmt.Fprintf(w, "%s\n%s\n", head, rule)
	for _, g := range groups {
		line(w, g.what, g.whose, all, func(a *account) float64 { return a.bytes[g] })
	}
	line(w, "**sum**", "", all, func(a *account) float64 { return a.sum })
}

func line(w io.Writer, what, whose string, all []*account, bytes func(*account) float64) {
	fmt.Fprintf(w, "| %s | %s |", what, whose)
	for _, a := range all {
		if n := bytes(a); n >= 0.5 {
			fmt.Fprintf(w, " %.0f |", n)
		} else {
			fmt.Fprint(w, " |")
		}
	}
	fmt.Fprintln(w)
}
