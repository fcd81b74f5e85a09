package promises

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestRemovalIsAnnounced: the cluster learns when an id disconnects.
func TestRemovalIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(bus).join(t)
		pipe(t, n.conns, "a")
		n.conns.Kick("a", 1000, "")
		if synctest.Wait(); n.owner("a") != nil {
			t.Error("the cluster does not know that the id has gone")
		}
	})
}

// TestTakeoverIsAnnounced: Add tells the cluster of a new connection, even if the id
// had one before.
func TestTakeoverIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bus)
		one, two := b.join(t), b.join(t)
		pipe(t, one.conns, "a")
		synctest.Wait()
		b.mu.Lock()
		b.owners["a"] = owner{node: two} // as if node two had become the owner since then
		b.mu.Unlock()
		pipe(t, one.conns, "a")
		synctest.Wait()
		if one.owner("a") != one {
			t.Error("the cluster does not know of the newest connection")
		}
	})
}

// A witness is a cluster without other processes. It records the connection of an id
// when the id changes.
type witness struct {
	slowCluster
	conns *gcpool.ConnPool
	told  map[string]net.Conn // each id's connection at the last change; used by one goroutine
}

func (w witness) Changed(_, id string) {
	w.conns.Get(id, func(conn net.Conn) error {
		w.told[id] = conn
		return nil
	})
}

// TestClusterIsToldBeforeAddReturns: Add itself tells the cluster of a new connection or a
// takeover. A separate goroutine could do so late: if two processes add a connection for the same
// id, the last to tell the cluster wins, and that must be the process with the newer connection.
func TestClusterIsToldBeforeAddReturns(t *testing.T) {
	p, conns, _ := started(t)
	w := witness{conns: conns, told: map[string]net.Conn{}}
	if err := p.SetCluster(w); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		for _, what := range []string{"new connection", "takeover"} {
			id := fmt.Sprint(i)
			ours, peer := net.Pipe()
			defer peer.Close()
			if err := conns.Add(id, ours); err != nil {
				t.Fatal(err)
			}
			if w.told[id] != ours {
				t.Fatalf("Add of %s %s has returned, but the cluster knows of %v", what, id, w.told[id])
			}
		}
	}
}

// TestAppearedOutlastsAPush: the cluster answers that an id is away, but the id has appeared
// since the question was asked. The messages must be forwarded, not kept in the mailbox, even
// if another push came in between.
func TestAppearedOutlastsAPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		answer := gcpool.ErrNotConnected
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) {
			errs := all(len(batch), answer)
			time.AfterFunc(time.Second, func() { done(errs) })
		}})
		outcome := make(chan error, 1)
		go func() { outcome <- stream.Deliver(t.Context(), "a", []byte("1")) }()
		synctest.Wait()
		answer = nil
		local(conns).Appeared(name, "a")
		add(t, stream, "a", "2")
		if err := <-outcome; err != nil {
			t.Errorf("Deliver: %v", err)
		}
		time.Sleep(time.Minute)
		settled(t, p)
	})
}

// TestAppearedWhileAWriteEnds: Del cuts a write short, which leaves a message. The message is
// forwarded, not kept, if the id has appeared elsewhere.
func TestAppearedWhileAWriteEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		p.SetCluster(&answering{func(_ string, batch [][]byte, done func([]error)) { done(all(len(batch), nil)) }})
		pipe(t, conns, "a") // its peer reads nothing
		outcome := make(chan error, 1)
		go func() { outcome <- stream.Deliver(t.Context(), "a", []byte("x")) }()
		synctest.Wait()
		conns.Del("a")
		local(conns).Appeared(name, "a")
		if err := <-outcome; err != nil {
			t.Errorf("Deliver: %v", err)
		}
		settled(t, p)
	})
}

// TestAppearedKeepsTheTime: if an id is still away after Appeared, its messages keep
// the time that they had left in the mailbox.
func TestAppearedKeepsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := &bus{delay: 500 * time.Millisecond}, new(reports)
		near := b.join(t, gcpool.WithMailbox(time.Minute, 1000), gcpool.WithUndelivered(r.hook))
		add(t, near.stream, "a", "1") // kept after 1 s
		time.Sleep(30 * time.Second)
		add(t, near.stream, "a", "2")
		synctest.Wait()
		local(near.conns).Appeared(name, "a")
		time.Sleep(32 * time.Second)
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"a 1"})
		time.Sleep(time.Minute)
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"a 2"})
		settled(t, near.pool)
	})
}
