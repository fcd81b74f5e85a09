package closing

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	closes = flag.Int("closes", 0, "how many connections to close in each case; 0 is a few")
	only   = flag.String("only", "", "try only the cases with this in their names")
)

// batch is how many connections are open at once.
const batch = 10

// late is the shortest time of a close after which an unclean end may be the machine's fault. A
// client has half a second to answer before our side is shut, and a second before the socket is
// closed. On a machine that stalls or is busy, the client may need longer.
const late = 500 * time.Millisecond

// A row is a way to end a connection, with what its client must see.
type row struct {
	name string
	end  func(s *site, n int) // ends clients 0 to n-1
	want ending
}

// An ending is what a client has seen. Clean means that the connection ended as RFC 6455
// section 7.1 says. Only a client that reads close frames itself knows their number.
type ending struct {
	Code   int
	Reason string
	Clean  bool
	Why    string // why it was not clean
}

var rows = []row{
	{"client closes", func(s *site, n int) { s.tell(n, "close") }, ending{Code: 1000, Clean: true}},
	{"handler returns", func(s *site, n int) { s.tell(n, "return") }, ending{Code: 1000, Clean: true}},
	{"Shutdown", func(s *site, n int) { s.pool.Shutdown(context.Background()) }, ending{Code: 1001, Clean: true}},
	{"takeover", takeOver, ending{Code: 4500, Clean: true}},
	{"Kick", func(s *site, n int) {
		each(n, func(id string) { s.conns.Kick(id, 4001, "bye") })
	}, ending{Code: 4001, Reason: "bye", Clean: true}},
	{"Del", func(s *site, n int) { each(n, func(id string) { s.conns.Del(id) }) }, ending{Code: 1000, Clean: true}},
}

func takeOver(s *site, n int) {
	each(n, func(id string) {
		conn, _ := net.Pipe()
		s.conns.Add(id, conn)
	})
}

// A shape lists what a handler defers, in the order of execution.
type shape []string

var shapes = []shape{{}, {"Del"}, {"Close"}, {"Del", "Close"}, {"Close", "Del"}}

func (s shape) String() string {
	if len(s) == 0 {
		return "neither"
	}
	return strings.Join(s, " and ")
}

// A closure is one case.
type closure struct {
	row
	library library
	shape   shape
	sends   bool // the client sends all the time
	tls     bool
}

func (c *closure) String() string {
	name := fmt.Sprintf("%s/%s/%s", c.row.name, c.library.name, c.shape)
	if c.sends {
		name += ", sending"
	}
	if c.tls {
		name += ", TLS"
	}
	return name
}

// happens reports whether a case can occur. A connection whose handler returns and neither
// removes nor closes it stays open, as with net/http, unless the library closes it.
func (c *closure) happens() bool {
	if c.library.closes && !slices.Contains(c.shape, "Close") {
		return false
	}
	return c.row.name != "handler returns" || len(c.shape) > 0 || c.library.returns
}

// A client opens n connections to url with the numbers from 0 on, and
// returns how each has ended. It closes its connection when it gets the
// message close, and sends the message return when it gets that one.
type client func(t *testing.T, url string, n int, sends bool) []ending

// A round is the part of the cases that a test tries, unless -closes asks for all of them.
type round struct {
	few   int // how often to try each case
	tls   bool
	takes func(c *closure) bool // which cases; nil for all
}

// closeAll tries the cases of a round with a client.
func closeAll(t *testing.T, open client, r round) {
	total, batches, slow := map[string]int{}, 0, 0
	for _, c := range cases(r) {
		n := r.few
		if *closes > 0 {
			n = *closes
		}
		right, again := c.try(t, open, n)
		total[c.row.name+", "+c.library.name] += right
		slow += again
		batches += (n + batch - 1) / batch
	}
	if slow > 3+batches/50 {
		t.Errorf("%d of %d batches were late and unclean, more than a busy machine explains", slow, batches)
	}
	for _, name := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%s: %d right", name, total[name])
	}
}

func cases(r round) (all []*closure) {
	for _, row := range rows {
		for _, l := range libraries {
			for _, s := range shapes {
				for _, sends := range []bool{false, true} {
					c := &closure{row: row, library: l, shape: s, sends: sends, tls: r.tls}
					taken := r.takes == nil || *closes > 0 || r.takes(c)
					if taken && c.happens() && strings.Contains(c.String(), *only) {
						all = append(all, c)
					}
				}
			}
		}
	}
	return all
}

// notifies selects the rows that are about close_notify, the only thing that differs under TLS.
func notifies(c *closure) bool {
	return c.row.name == "Shutdown" || c.row.name == "takeover" || c.row.name == "Del"
}

// try closes n connections. It returns how many ended as they should, and how often it tried a
// batch again because it was late.
func (c *closure) try(t *testing.T, open client, n int) (right, again int) {
	wrong := map[ending]int{}
	for left := n; left > 0; left -= batch {
		endings, more := c.inTime(t, open, min(left, batch))
		for _, e := range endings {
			if e == c.want {
				right++
			} else {
				wrong[e]++
			}
		}
		again += more
	}
	if right < n {
		t.Errorf("%s: right in %d of %d; wrong: %+v", c, right, n, wrong)
	}
	return right, again
}

// inTime closes n connections at once. If that was late, and the only fault is that some ends
// are unclean, it tries again, at most five times.
func (c *closure) inTime(t *testing.T, open client, n int) (endings []ending, again int) {
	for ; ; again++ {
		var took time.Duration
		endings, took = c.once(t, open, n)
		unclean := slices.ContainsFunc(endings, func(e ending) bool { return !e.Clean })
		wrong := slices.ContainsFunc(endings, func(e ending) bool { return e.Clean && e != c.want })
		if wrong || !unclean || took < late || again == 5 {
			return endings, again
		}
		t.Logf("%s: trying again, because it took %v: %+v", c, took, endings)
	}
}

// once closes n connections at once, and also returns how long that took.
func (c *closure) once(t *testing.T, open client, n int) ([]ending, time.Duration) {
	s := newSite(t, c)
	defer s.close()
	ended := make(chan []ending, 1)
	go func() { ended <- open(t, s.url(), n, c.sends) }()
	s.await(t, n)
	began := time.Now()
	c.end(s, n)
	endings := <-ended
	return endings, time.Since(began)
}
