package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
	"golang.org/x/net/websocket"
)

// A trial is users of some sites, whose messages the ledger judges.
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

func (l *trial) hook() gcpool.Option { return gcpool.WithUndelivered(l.ledger.Undelivered) }

// connect makes id's newest connection one to s, and has it read up to the end. A
// node hears of it a moment later, and until then may push to an older one: the
// ledger's generation begins when it has.
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
					if o != s && o.conn(key{name, id}) != nil {
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

// push has each site push to ids that it picks, until the trial ends.
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

func userID(i int) string { return fmt.Sprint("user ", i) }

// end shuts all down and judges.
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

// TestMovingUsers: of 1,000 users who move from node to node while every node
// pushes to them, each gets each message once and in order, or it is reported.
func TestMovingUsers(t *testing.T) {
	s := serve(t, nil)
	l := newTrial(t)
	for range 3 {
		l.sites = append(l.sites, join(t, s.ClientURL(), l.hook()))
	}
	users, moves := 1000, 3
	if testing.Short() {
		users = 100
	}
	for i := range users {
		l.connect(l.sites[i%3], userID(i))
	}
	l.push(users)
	for w := range 4 {
		l.movers.Go(func() {
			for m := 1; m <= moves; m++ {
				for i := w; i < users; i += 4 {
					l.connect(l.sites[(i+m)%3], userID(i))
				}
			}
		})
	}
	l.movers.Wait()
	t.Log("moved")
	l.end()
	totals := l.ledger.Totals()
	t.Logf("%+v", totals)
	for _, s := range l.sites {
		t.Logf("%+v %+v %v", s.Stats(), s.stats(), s.Err())
	}
	if totals.Received < totals.Accepted*9/10 {
		t.Errorf("received %d of %d", totals.Received, totals.Accepted)
	}
}
