package del

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// play plays each order of steps with connections of kind k, with and without a mailbox,
// because the owners of an id that is away are remembered in another place if it has mail.
func play(t *testing.T, k kind, orders map[string]string) {
	t.Helper()
	for mailbox, opts := range map[string][]gcpool.Option{
		"plain": nil, "mailbox": {gcpool.WithMailbox(time.Hour, 1<<20)},
	} {
		t.Run(k.name+"/"+mailbox, func(t *testing.T) {
			t.Parallel()
			s := openSite(t, k, opts...)
			for name, script := range orders {
				t.Run(name, func(t *testing.T) {
					p := newPlayer(t, s)
					p.mailbox = opts != nil
					p.play(script)
				})
			}
		})
	}
}

var ids atomic.Int64

// A player plays one order of steps with an id of its own. See act for the possible steps.
type player struct {
	t       *testing.T
	site    *site
	id      string
	visits  []*visit
	mailbox bool
	kept    []string // what waits in the mailbox
	pushed  int
}

// newPlayer returns a player whose handlers return when the test ends.
func newPlayer(t *testing.T, s *site) *player {
	p := &player{t: t, site: s, id: fmt.Sprint(ids.Add(1))}
	t.Cleanup(func() {
		for _, v := range p.visits {
			v.free()
			if v.peer != nil {
				v.peer.conn.Close()
				await(t, "the handler returns", v.returned)
			}
		}
		s.conns.Kick(p.id, 1000, "")
	})
	return p
}

// play plays a script. Each line lists the acts of one step, with "&" between acts that happen
// at once, and after the colon the connection that the id must have then.
func (p *player) play(script string) {
	p.t.Helper()
	number := 0
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		acts, then, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		number++
		want, err := strconv.Atoi(then)
		if err != nil && then != "nobody" {
			p.t.Fatalf("%q does not say which connection the id has", line)
		}
		if p.step(strings.Split(acts, " & "), want); p.t.Failed() {
			p.t.Fatalf("after step %d, %q", number, line)
		}
	}
}

// step carries out all acts at once, the first on the test's own goroutine, and checks the result.
func (p *player) step(acts []string, want int) {
	p.t.Helper()
	before := p.present()
	for _, act := range acts {
		if strings.HasSuffix(act, " connects") {
			v := newVisit(p.site, p.id, len(p.visits)+1)
			p.visits = append(p.visits, v)
			p.site.visits.Store(key(v), v)
		}
	}
	var wg sync.WaitGroup
	for _, act := range acts[1:] {
		wg.Go(func() { p.act(act) })
	}
	said := p.act(acts[0])
	wg.Wait()
	if p.t.Failed() {
		return
	}
	p.check(want)
	if len(acts) == 1 && said != silent && (said == removed) != (before != p.present()) {
		p.t.Errorf("the call reports the opposite of what it did")
	}
}

// present returns the number of the id's connection, 0 if it has none.
func (p *player) present() (n int) {
	p.site.conns.Get(p.id, func(conn net.Conn) error {
		n = -1
		for _, v := range p.visits {
			if v.conn == conn {
				n = v.n
			}
		}
		return nil
	})
	return n
}

// check fails the test unless connection want is present and gets
// pushes, and all other connections have ended.
func (p *player) check(want int) {
	p.t.Helper()
	switch now := p.present(); {
	case now == want:
	case now == 0:
		p.t.Errorf("connection %d is gone", want)
		return
	default:
		p.t.Errorf("connection %d is there, want %d", now, want)
		return
	}
	if n := p.site.conns.Connected(p.id); n != min(want, 1) {
		p.t.Errorf("Connected returns %d", n)
	}
	for _, v := range p.visits {
		if v.n != want {
			await(p.t, fmt.Sprintf("the peer of connection %d sees its end", v.n), v.peer.over)
			await(p.t, fmt.Sprintf("the handler of connection %d sees its end", v.n), v.tidies)
		}
	}
	p.push(want)
}

// push pushes a message. The id's connection must get it; without
// one, the mailbox keeps it, or it is not delivered.
func (p *player) push(to int) {
	p.t.Helper()
	p.pushed++
	text := fmt.Sprint("message ", p.pushed)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch {
	case to > 0 && p.visits[to-1].left: // the outcome could be either
	case to > 0:
		if err := p.site.stream.Deliver(ctx, p.id, []byte(text)); err != nil {
			p.t.Errorf("Deliver to connection %d: %v", to, err)
		}
		for _, want := range append(p.kept, text) {
			if got := p.visits[to-1].peer.receive(); got != want {
				p.t.Errorf("connection %d receives %q, want %q", to, got, want)
			}
		}
		p.kept = nil
	case p.mailbox:
		if err := p.site.stream.Add(p.id, []byte(text)); err != nil {
			p.t.Errorf("Add for an id that is away: %v", err)
		}
		p.kept = append(p.kept, text)
	default:
		if err := p.site.stream.Deliver(ctx, p.id, []byte(text)); !errors.Is(err, gcpool.ErrNotConnected) {
			p.t.Errorf("Deliver to an id that is away: %v", err)
		}
	}
}
