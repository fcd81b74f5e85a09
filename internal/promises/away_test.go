package promises

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// An answering is a cluster whose Forward is a function.
type answering struct {
	forward func(id string, batch [][]byte, done func([]error))
}

func (a *answering) Changed(_, _ string) {}
func (a *answering) Forward(_, id string, batch [][]byte, done func([]error)) {
	a.forward(id, batch, done)
}
func (a *answering) Broadcast(string, []byte) error { return nil }

// all is one outcome for n messages.
func all(n int, err error) (errs []error) {
	for range n {
		errs = append(errs, err)
	}
	return errs
}

// TestPushInAnOutage leaves alone the mail that it finds.
func TestPushInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reports)
		p, _, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20), gcpool.WithUndelivered(r.hook))
		answer := gcpool.ErrNotConnected
		outage := errors.New("node or NATS lost, may have been delivered")
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) { done(all(len(batch), answer)) }})
		for i := range 50 {
			add(t, stream, "a", fmt.Sprint(i))
			synctest.Wait()
		}
		answer = outage
		add(t, stream, "a", "new")
		synctest.Wait()
		r.mu.Lock()
		n := len(r.all)
		r.mu.Unlock()
		if s := p.Stats()[0]; n > 1 {
			t.Errorf("one push while the cluster failed had %d messages reported; %d of 51 still wait", n, s.Waiting)
		}
	})
}

// TestBroadcastWaitsForNobodyWhoIsAway, however long a push to him is on its way.
func TestBroadcastWaitsForNobodyWhoIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithOutbox(10))
		free := make(chan bool)
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) { <-free; done(all(len(batch), nil)) }})
		defer close(free)
		add(t, stream, "away", "0123456789")
		synctest.Wait()
		peer := pipe(t, conns, "here")
		go io.Copy(io.Discard, peer)
		ended := make(chan error, 1)
		go func() { ended <- stream.Broadcast([]byte("all")) }()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("Broadcast has waited for a minute, for an id that is away")
			free <- true
			<-ended
		}
	})
}

// TestBroadcastWaitsForNoMail of an id that is asked for.
func TestBroadcastWaitsForNoMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithOutbox(1000), gcpool.WithMailbox(time.Hour, 1<<20))
		hang := false
		free := make(chan bool)
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			if hang {
				<-free
			}
			done(all(len(batch), gcpool.ErrNotConnected))
		}})
		for range 10 {
			add(t, stream, "away", string(make([]byte, 100)))
			synctest.Wait()
		}
		hang = true
		add(t, stream, "away", "x")
		synctest.Wait()
		peer := pipe(t, conns, "here")
		go io.Copy(io.Discard, peer)
		ended := make(chan error, 1)
		go func() { ended <- stream.Broadcast([]byte("all")) }()
		time.Sleep(time.Minute)
		select {
		case <-ended:
		default:
			t.Error("Broadcast has waited for a minute")
		}
		close(free)
	})
}

// TestEvictedWriteWithoutACluster expires, or is forwarded, like other mail.
func TestEvictedWriteWithoutACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 1<<20))
		c := &answering{func(_ string, batch [][]byte, done func([]error)) { done(all(len(batch), nil)) }}
		p.SetCluster(c)
		pipe(t, conns, "a") // takes nothing
		add(t, stream, "a", "0")
		synctest.Wait()
		for i := range 5 {
			add(t, stream, "a", fmt.Sprint(i+1))
		}
		conns.Get("a", func(conn net.Conn) error {
			conns.Evict("a", conn)
			return nil
		})
		p.SetCluster(nil)
		p.SetCluster(c)
		time.Sleep(10 * time.Minute)
		settled(t, p)
	})
}

// TestPushBehindADyingWriteAsks when that has ended.
func TestPushBehindADyingWriteAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		var mu sync.Mutex
		asked := 0
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			mu.Lock()
			asked++
			mu.Unlock()
			done(all(len(batch), nil))
		}})
		pipe(t, conns, "a") // takes nothing
		add(t, stream, "a", "0")
		add(t, stream, "a", "1")
		synctest.Wait()
		if !conns.Del("a") {
			t.Fatal()
		}
		add(t, stream, "a", "for elsewhere") // id is connected elsewhere by now, or will be in a moment
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if s := p.Stats()[0]; asked == 0 {
			t.Errorf("a push to an id that is away was never forwarded: %+v", s)
		}
	})
}

// TestPushBehindAnAskAsks once more: the answer under way may be older than it.
func TestPushBehindAnAskAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		var mu sync.Mutex
		var seen []string
		here := false
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			mu.Lock()
			defer mu.Unlock()
			for _, b := range batch {
				seen = append(seen, string(b))
			}
			err := gcpool.ErrNotConnected // as of now
			if here {
				err = nil
			}
			go func() { time.Sleep(time.Second); done(all(len(batch), err)) }()
		}})
		add(t, stream, "a", "1")
		time.Sleep(500 * time.Millisecond)
		mu.Lock()
		here = true // the route is back
		mu.Unlock()
		add(t, stream, "a", "2")
		time.Sleep(10 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if s := p.Stats()[0]; s.Waiting > 0 {
			t.Errorf("the second push came after the answer to the first, and was never asked for: asked %q, %d wait", seen, s.Waiting)
		}
	})
}

// TestEvictedWriteOfWhoComesBackAndGoes is forwarded: he comes back, and goes, while it ends.
func TestEvictedWriteOfWhoComesBackAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(reports)
		p, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 1<<20), gcpool.WithUndelivered(r.hook))
		var mu sync.Mutex
		asked := 0
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			mu.Lock()
			asked += len(batch)
			mu.Unlock()
			done(all(len(batch), nil))
		}})
		pipe(t, conns, "a") // takes nothing
		add(t, stream, "a", "0")
		synctest.Wait()
		add(t, stream, "a", "1")
		var conn net.Conn
		conns.Get("a", func(x net.Conn) error { conn = x; return nil })
		if !conns.Evict("a", conn) {
			t.Fatal()
		}
		ours, _ := net.Pipe()
		conns.Add("a", ours)
		conns.DelConn("a", ours)
		time.Sleep(10 * time.Minute)
		mu.Lock()
		if s := p.Stats()[0]; s.Waiting != 0 {
			t.Errorf("%d waits after ten minutes, where the mailbox keeps for one: %d were forwarded, reported %v", s.Waiting, asked, r.take(t, gcpool.ErrExpired))
		}
		mu.Unlock()
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v after %v, with a cluster that takes everything and nobody connected", err, time.Since(start))
		}
	})
}
