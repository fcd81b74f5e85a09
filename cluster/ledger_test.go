package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
	"golang.org/x/net/websocket"
)

// A trial has users at some sites; the ledger judges their messages.
type trial struct {
	t       *testing.T
	ledger  *ledger.Ledger
	sites   []*site
	readers sync.WaitGroup
	movers  sync.WaitGroup
	pushers sync.WaitGroup
	stop    chan struct{}
}

func newTrial(t *testing.T) *trial {
	return &trial{t: t, ledger: ledger.New(), stop: make(chan struct{})}
}

func (l *trial) hook() gcpool.Option {
	return gcpool.WithUndelivered(func(u gcpool.Undelivered) {
		if errors.Is(u.Err, ErrUncertain) {
			l.ledger.Unsure(u)
		} else {
			l.ledger.Undelivered(u)
		}
	})
}

// connect makes a connection to s id's newest one, and reads it to the
// end. Other nodes hear of it a moment later, and until then may push to
// an older one, so the ledger's generation begins when they have heard.
func (l *trial) connect(s *site, id string) {
	n := strconv.FormatUint(rand.Uint64(), 36)
	conns := make(chan *ledger.Conn, 1)
	s.joins.Store(n, func(add func() error) {
		l.ledger.Connect(id, func(c *ledger.Conn) error {
			conns <- c
			err := add()
			for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				others := 0
				for _, o := range l.sites {
					if o != s && !o.added(key{name, id}).IsZero() {
						others++
					}
				}
				if others == 0 {
					return err
				}
				if time.Now().After(end) {
					l.ledger.Breach("%q is connected to %d nodes still", id, others+1)
					return err
				}
			}
		})
	})
	u := s.open(id, n)
	c := <-conns
	l.readers.Go(func() {
		for {
			var data []byte
			if err := websocket.Message.Receive(u.Conn, &data); err != nil {
				c.End(err == io.EOF)
				u.Close()
				return
			}
			c.Receive(data[:len(data)-1])
		}
	})
}

// push makes each site push to random ids until the trial ends.
func (l *trial) push(ids int) {
	for i, s := range l.sites {
		l.pushers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			for n := 0; ; n++ {
				select {
				case <-l.stop:
					return
				default:
				}
				id := userID(r.IntN(ids))
				err := l.ledger.Stream(uint32(i), id).Add(64+r.IntN(200), func(data []byte) error { return s.stream.Add(id, data) })
				if err != nil && !errors.Is(err, gcpool.ErrClosed) {
					l.t.Errorf("Add: %v", err)
					return
				}
				if n%5 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
}

// populate connects users, and returns once every site knows where they are.
func (l *trial) populate(users int) {
	for i := range users {
		l.connect(l.sites[i%3], userID(i))
	}
	for i := range users {
		l.sites[i%3].known(userID(i), l.sites...)
	}
}

// move makes each user move from site to site.
func (l *trial) move(users, moves int) {
	const movers = 4
	for w := range movers {
		l.movers.Go(func() {
			for m := 1; m <= moves; m++ {
				for i := w; i < users; i += movers {
					l.connect(l.sites[(i+m)%3], userID(i))
				}
			}
		})
	}
}

func userID(i int) string { return fmt.Sprint("user ", i) }

// end shuts everything down and asks the ledger.
func (l *trial) end() {
	l.t.Helper()
	l.movers.Wait()
	close(l.stop)
	l.pushers.Wait()
	eventually(l.t, "all settled", func() bool {
		for _, s := range l.sites {
			if s.stats().Waiting > 0 {
				return false
			}
		}
		return true
	})
	for _, s := range l.sites {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.pool.Shutdown(ctx); err != nil {
			l.t.Errorf("Shutdown: %v", err)
		}
		s.check()
	}
	l.readers.Wait()
	if err := l.ledger.Check(); err != nil {
		l.t.Error(err)
	}
}

// TestMovingUsers: 1,000 users move from node to node while every node pushes to them. Each
// user must get each message once and in order, or it must be reported.
func TestMovingUsers(t *testing.T) {
	s := serve(t, nil)
	l := newTrial(t)
	for range 3 {
		l.sites = append(l.sites, join(t, s.ClientURL(), l.hook()))
	}
	users := 1000
	if testing.Short() {
		users = 100
	}
	l.populate(users)
	l.push(users)
	l.move(users, 3)
	l.end()
	totals := l.ledger.Totals()
	t.Logf("%+v", totals)
	if totals.Undelivered > 0 { // there is always a connection
		t.Errorf("%d of %d were not delivered", totals.Undelivered, totals.Accepted)
	}
}

// TestMovingUsersAcrossServers is TestMovingUsers with three NATS servers. A server may hear
// that an id has left a node before it hears from another server where the id is now, so a push
// in that instant may find no node.
func TestMovingUsersAcrossServers(t *testing.T) {
	l := newTrial(t)
	for _, s := range serveCluster(t, 3, nil) {
		l.sites = append(l.sites, join(t, s.ClientURL(), l.hook()))
	}
	l.populate(100)
	l.push(100)
	l.move(100, 5)
	l.end()
	totals := l.ledger.Totals()
	absent := totals.Reasons[slices.Index(ledger.Reasons, gcpool.ErrNotConnected)]
	if totals.Undelivered != absent || absent > 10 {
		t.Errorf("%d of %d were not delivered, %d because no node had the id", totals.Undelivered, totals.Accepted, absent)
	}
}

// TestOutagesUnderLoad: whatever is killed, cut or stuck, each message has one outcome, and
// none arrives twice. Afterwards every user can be reached again.
func TestOutagesUnderLoad(t *testing.T) {
	l := newTrial(t)
	route := new(proxy)
	servers := serveCluster(t, 3, &route)
	way := through(t, servers[2].Addr().String())
	for i, url := range []string{servers[0].ClientURL(), servers[1].ClientURL(), way.url()} {
		s := joinAs(t, url, []Option{WithTimeout(2 * time.Second)}, l.hook())
		l.sites = append(l.sites, s)
		if i == 1 { // will be killed
			s.nc.SetServerPool([]string{servers[1].ClientURL(), servers[0].ClientURL()})
		}
	}
	const users = 60
	l.populate(users)
	l.push(users)
	for _, outage := range []func(){
		func() { way.hold(true); time.Sleep(3 * time.Second); way.hold(false) },
		func() { way.cut(); time.Sleep(time.Second); way.mend() },
		func() { route.cut(); time.Sleep(4 * time.Second); route.mend() },
		func() { servers[1].Shutdown() },
	} {
		outage()
		time.Sleep(time.Second)
		l.well(users)
	}
	l.sites[2].nc.Close() // to the other nodes, it dies
	time.Sleep(time.Second)
	l.end()
	t.Logf("%+v", l.ledger.Totals())
}

// well waits until each site can reach each user.
func (l *trial) well(users int) {
	l.t.Helper()
	for i := range users {
		at := l.sites[i%3]
		for _, from := range l.sites {
			eventually(l.t, "reached again", func() bool {
				where, err := from.Where(context.Background(), name, userID(i))
				return err == nil && where == at.Name()
			})
		}
	}
}
