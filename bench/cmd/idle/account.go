package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/nulijiabei/gcpool/bench/internal/server"
)

// group is memory that serves one purpose.
type group struct {
	order       int
	what, whose string
}

// rules put an allocation into a group by the innermost function of its call
// stack that begins with one of these.
var rules = []struct{ function, what, whose string }{
	{"runtime.malg", goroutine, "Go"},
	{"runtime.allgadd", goroutine, "Go"},
	{"net.(*TCPListener).", "socket: TCPConn, netFD, addresses", "Go"},
	{"net/http.(*conn).", "contexts of net/http", "Go"},
	{"net/http.(*Server).", "contexts of net/http", "Go"},
	{"net/http.readRequest", "request: URL, headers", "Go"},
	{"net/http.(*Request).ParseForm", "request: FormValue's maps", "handler"},
	{"net/http.(*Request).ParseMultipartForm", "request: FormValue's maps", "handler"},
	{root + ".(*upgraded).serve", withContext, "Upgrade"},
	{root + ".(*upgraded).newContext", withContext, "Upgrade"},
	{root + ".singleLines", withContext, "Upgrade"},
	{root + ".Upgrade.", "ResponseWriter, its header", "Upgrade"},
	{root + ".(*upgraded).WriteHeader", "ResponseWriter, its header", "Upgrade"},
	{root + ".(*upgraded).Hijack", "the library's buffers", "Upgrade"},
	{root + "/internal/upgrade.NewConn", "upgrade.Conn", "Upgrade"},
	{root + "/internal/outbox.", "chunk for the next message", "pool"},
	{root + "/internal/delivery.NewRecipient", "registry: Recipient", "pool"},
	{root + "/internal/cursor.NewConnection", "Connection, with its Link", "pool"},
	{root + "/internal/delivery.", registry, "pool"},
	{root + "/internal/owners.", registry, "pool"},
	{root + "/internal/upgrade.", "the rest of upgrade", "Upgrade"},
	{root + "/internal/transport.", "the rest of transport", "pool"},
	{root + "/bench/internal/peers.", "buffers, maps, channels", "handler"},
	{root + ".", registry, "pool"},
	{"golang.org/x/net/websocket.", connection, "library"},
	{"github.com/gorilla/websocket.", connection, "library"},
	{"github.com/coder/websocket", connection, "library"},
	{"github.com/lxzan/gws", connection, "library"},
	{"github.com/olahol/melody.", connection, "library"},
}

const (
	root = "github.com/nulijiabei/gcpool"

	goroutine   = "goroutine, without its stack"
	withContext = "request: the copy with a context"
	registry    = "registry: map, list, who added"
	connection  = "connection"
)

var (
	stacks = group{-1, "stacks", "Go"}
	rest   = group{len(rules), "anything else", ""}
)

// account is the memory of one peer's connection.
type account struct {
	name       string
	bytes      map[group]float64
	groups     []group
	sites      []server.Site // of all connections
	users      float64
	sum        float64
	goroutines map[string]int
}

func newAccount(name string, users int, before, after server.Account) *account {
	a := &account{name: name, users: float64(users), bytes: make(map[group]float64), goroutines: after.Goroutines}
	a.sites = difference(before.Sites, after.Sites)
	unknown := after.Heap - before.Heap
	for _, s := range a.sites {
		unknown -= s.Bytes
		if g, ok := groupOf(s.Frames); ok {
			a.add(g, float64(s.Bytes)/a.users)
		}
	}
	a.add(rest, float64(unknown)/a.users)
	a.add(stacks, float64(after.Stacks-before.Stacks)/a.users)
	a.groups = slices.Collect(maps.Keys(a.bytes))
	return a
}

func (a *account) add(g group, bytes float64) {
	a.bytes[g] += bytes
	a.sum += bytes
}

// difference returns the memory that after has and before does not have, most bytes first.
func difference(before, after []server.Site) (all []server.Site) {
	sum := make(map[string]server.Site)
	count := func(sites []server.Site, sign int64) {
		for _, s := range sites {
			key := strings.Join(s.Frames, "\n")
			was := sum[key]
			sum[key] = server.Site{Frames: s.Frames, Bytes: was.Bytes + sign*s.Bytes, Objects: was.Objects + sign*s.Objects}
		}
	}
	count(after, 1)
	count(before, -1)
	return slices.SortedFunc(maps.Values(sum), func(a, b server.Site) int { return cmp.Compare(b.Bytes, a.Bytes) })
}

// groupOf returns the group of a call stack. It returns false for the memory that it takes to send
// the account itself.
func groupOf(frames []string) (group, bool) {
	for _, f := range frames {
		if strings.HasPrefix(f, "encoding/gob.") || strings.HasPrefix(f, "net/rpc.") {
			return group{}, false
		}
		for _, r := range rules {
			if strings.HasPrefix(f, r.function) {
				// Rules for the same group share the place of its first rule.
				for i, first := range rules {
					if first.what == r.what && first.whose == r.whose {
						return group{i, r.what, r.whose}, true
					}
				}
			}
		}
	}
	return rest, true
}

// print shows the goroutines and, if asked, the call stacks.
func (a *account) print(w io.Writer, sites bool) {
	fmt.Fprintf(w, "\n%s: goroutines for each connection:", a.name)
	for _, name := range slices.Sorted(maps.Keys(a.goroutines)) {
		if n := float64(a.goroutines[name]) / a.users; n >= 0.5 {
			fmt.Fprintf(w, " %.0f %s", n, name)
		}
	}
	fmt.Fprintln(w)
	for _, s := range a.sites {
		if each := float64(s.Bytes) / a.users; sites && each >= 4 {
			fmt.Fprintf(w, "%7.1f B in %.1f: %s\n", each, float64(s.Objects)/a.users, strings.Join(s.Frames[:min(12, len(s.Frames))], " < "))
		}
	}
}
