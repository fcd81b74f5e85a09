package del

import (
	"strconv"
	"strings"
	"time"
)

// An outcome is the result of a call that removes a connection.
type outcome int

const (
	silent outcome = iota // nothing
	removed
	nothing
)

func reported(ok bool) outcome {
	if ok {
		return removed
	}
	return nothing
}

// act carries out one act of a script:
//
//	1 connects      the user dials for the first time; the newest connection takes over
//	1 leaves        the peer closes the connection, and its handler tidies up
//	1 dels          the handler, or a goroutine that it started, calls Del while it tidies up
//	1 logs out      the same, but while the handler reads
//	1 delconns      the handler calls DelConn while it tidies up
//	1 kicks         the handler calls Kick while it tidies up
//	1 returns       the handler returns
//	1 is missed     the pool itself finds that the connection has gone
//	1 is pinged     the heartbeat pings the peer once more
//	admin dels      a goroutine that no handler started calls Del
//	admin kicks     the same with Kick
//	admin delconns 1
//	admin adds 1    adds the connection that the id already has
//	admin pushes    pushes a message whose outcome does not matter
func (p *player) act(text string) outcome {
	words := strings.Fields(text)
	if words[0] == "admin" {
		return p.admin(words[1], words[len(words)-1])
	}
	v := p.visit(words[0])
	switch words[1] {
	case "connects":
		if v.peer = p.site.dial(v); v.peer != nil {
			await(p.t, "Add returns", v.added)
		}
	case "leaves":
		v.left = true
		v.peer.conn.Close()
		await(p.t, "the handler sees the end", v.tidies)
	case "dels":
		return p.have(v, v.del)
	case "logs":
		if err := v.peer.send("log me out\n"); err != nil {
			p.t.Error(err)
		}
		return p.have(v, v.del)
	case "delconns":
		return p.have(v, v.delConn)
	case "kicks":
		return p.have(v, v.kick)
	case "returns":
		v.free()
		await(p.t, "the handler returns", v.returned)
	case "is":
		p.is(v, words[2])
	default:
		p.t.Errorf("what is %q?", text)
	}
	return silent
}

// admin does what an administrator does, on a goroutine that no handler started.
func (p *player) admin(verb, object string) outcome {
	switch verb {
	case "dels":
		return reported(p.site.conns.Del(p.id))
	case "kicks":
		return reported((&visit{id: p.id, site: p.site}).kick())
	case "delconns":
		return reported(p.visit(object).delConn())
	case "adds":
		if err := p.site.conns.Add(p.id, p.visit(object).conn); err != nil {
			p.t.Error(err)
		}
	case "pushes":
		if err := p.site.stream.Add(p.id, []byte("lost")); err != nil {
			p.t.Error(err)
		}
	default:
		p.t.Errorf("what is %q?", verb)
	}
	return silent
}

// is waits for something that the pool does on its own.
func (p *player) is(v *visit, what string) {
	p.t.Helper()
	pings := v.peer.pings()
	switch what {
	case "missed":
		eventually(p.t, "it is missed", func() bool { return p.site.conns.Connected(p.id) == 0 })
	case "pinged":
		eventually(p.t, "it is pinged", func() bool { return v.peer.pings() > pings })
	default:
		p.t.Errorf("unknown act %q", what)
	}
}

// have makes v's handler carry out a call.
func (p *player) have(v *visit, call func() bool) outcome {
	o := order{call, make(chan bool)}
	select {
	case v.orders <- o:
		return reported(<-o.result)
	case <-time.After(patience):
		p.t.Errorf("the handler of connection %d does not carry out the call", v.n)
		return silent
	}
}

// visit returns the visit with a number.
func (p *player) visit(number string) *visit {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > len(p.visits) {
		panic("there is no connection " + number)
	}
	return p.visits[n-1]
}
