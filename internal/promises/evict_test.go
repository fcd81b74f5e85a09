package promises

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestEvictWithoutACluster: without a cluster, Evict does the same as Del.
func TestEvictWithoutACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithUndelivered(r.hook))
		ours, peer := net.Pipe()
		conns.Add("a", ours)
		add(t, stream, "a", "1")
		synctest.Wait()
		add(t, stream, "a", "2")
		if !local(conns).Evict(name, "a", ours) {
			t.Fatal("Evict found nothing")
		}
		peer.Close()
		time.Sleep(time.Second)
		equal(t, "undelivered", r.take(t, gcpool.ErrNotConnected), []string{"a 1", "a 2"})
		settled(t, p)
	})
}

// TestEvictedIDIsFollowed: after Evict, the waiting messages go to the process where
// the id is, even if nothing more is pushed. After Del, they are reported.
func TestEvictedIDIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := new(bus), new(reports)
		near, far := b.join(t, gcpool.WithUndelivered(r.hook)), b.join(t)
		for _, text := range []string{"1", "2"} {
			old := pipe(t, near.conns, "a")
			for i := range 3 {
				add(t, near.stream, "a", fmt.Sprint(text, i))
				synctest.Wait()
			}
			if text == "1" { // written when the id was evicted
				peer := pipe(t, far.conns, "a")
				equal(t, "received", lines(t, bufio.NewReader(peer), 3), []string{"10", "11", "12"})
			} else {
				near.conns.Del("a")
			}
			old.Close()
			synctest.Wait()
		}
		equal(t, "undelivered", r.take(t, gcpool.ErrDeleted), []string{"a 20", "a 21", "a 22"})
		settled(t, near.pool)
	})
}

// TestEvictedBehindAConnectionThatHeedsNothing: a write hangs on an evicted connection. When
// the pool gives up the write, it forwards the message behind it.
func TestEvictedBehindAConnectionThatHeedsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) { done(all(len(batch), nil)) }})
		conn, free := deaf()
		defer free()
		conns.Add("a", conn)
		add(t, stream, "a", "stuck")
		synctest.Wait()
		add(t, stream, "a", "behind")
		local(conns).Evict(name, "a", conn)
		time.Sleep(time.Minute)
		if s := settled(t, p); s.Forwarded != 1 || s.Undelivered != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestEvictedWriteWithoutACluster: Evict interrupts a write, then the cluster is removed and
// set again. The messages expire or are forwarded, like other mail.
func TestEvictedWriteWithoutACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Minute, 1<<20))
		c := &answering{func(_ string, batch [][]byte, done func([]error)) { done(all(len(batch), nil)) }}
		p.SetCluster(c)
		pipe(t, conns, "a") // its peer reads nothing
		add(t, stream, "a", "0")
		synctest.Wait()
		for i := range 5 {
			add(t, stream, "a", fmt.Sprint(i+1))
		}
		conns.Get("a", func(conn net.Conn) error {
			local(conns).Evict(name, "a", conn)
			return nil
		})
		p.SetCluster(nil)
		p.SetCluster(c)
		time.Sleep(10 * time.Minute)
		settled(t, p)
	})
}

// TestEvictedWriteOfWhoComesBackAndGoes: Evict interrupts a write, and the id connects
// and leaves again before the write has ended. The messages are forwarded.
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
		pipe(t, conns, "a") // its peer reads nothing
		add(t, stream, "a", "0")
		synctest.Wait()
		add(t, stream, "a", "1")
		var conn net.Conn
		conns.Get("a", func(x net.Conn) error { conn = x; return nil })
		if !local(conns).Evict(name, "a", conn) {
			t.Fatal()
		}
		ours, _ := net.Pipe()
		conns.Add("a", ours)
		conns.DelConn("a", ours)
		time.Sleep(10 * time.Minute)
		mu.Lock()
		if s := p.Stats()[0]; s.Waiting != 0 {
			t.Errorf("%d waits after ten minutes, though the mailbox keeps messages for one: %d were forwarded, reported %v", s.Waiting, asked, r.take(t, gcpool.ErrExpired))
		}
		mu.Unlock()
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v after %v, though the cluster takes everything and no id is connected", err, time.Since(start))
		}
	})
}
