package promises

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestReceiveTooLarge: a message that no outbox of this process takes has its
// error, those before it have their outcome.
func TestReceiveTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(bus).join(t, gcpool.WithOutbox(10))
		peer := bufio.NewReader(pipe(t, n.conns, "a"))
		large := make([]byte, 11)
		outcomes := make(chan []error, 1)
		batch := [][]byte{[]byte("1"), []byte("2"), large, []byte("3")}
		taken, err := n.stream.Receive("a", batch, func(errs []error) { outcomes <- errs })
		if taken != 2 || !errors.Is(err, gcpool.ErrTooLarge) {
			t.Errorf("took %d, %v; want 2 and ErrTooLarge", taken, err)
		}
		equal(t, "received", lines(t, peer, 2), []string{"1", "2"})
		if errs := <-outcomes; len(errs) != 2 || errors.Join(errs...) != nil {
			t.Errorf("outcomes %v, want two nil", errs)
		}
		if taken, err := n.stream.Receive("a", batch[2:], func([]error) {}); taken != 0 || !errors.Is(err, gcpool.ErrTooLarge) {
			t.Errorf("took %d, %v; want ErrTooLarge", taken, err)
		}
		if taken, err := n.stream.Receive("", batch[2:], nil); taken != 0 || !errors.Is(err, gcpool.ErrTooLarge) {
			t.Errorf("Broadcast took %d, %v; want ErrTooLarge", taken, err)
		}
	})
}

// TestReceiveWhileEvicted: of a batch from elsewhere, none is written that is
// behind one that was not since the id moved on; it would be written twice.
func TestReceiveWhileEvicted(t *testing.T) {
	for range 200 {
		n := new(bus).join(t)
		peer := pipe(t, n.conns, "a")
		got := make(chan int)
		go func() {
			n := 0
			for lines := bufio.NewScanner(peer); lines.Scan(); n++ {
			}
			got <- n
		}()
		batch := make([][]byte, 1000)
		for i := range batch {
			batch[i] = fmt.Append(nil, i)
		}
		var old net.Conn
		n.conns.Get("a", func(conn net.Conn) error { old = conn; return nil })
		go n.conns.Evict("a", old)
		outcomes := make(chan []error, 1)
		taken, err := n.stream.Receive("a", batch, func(errs []error) { outcomes <- errs })
		if taken != 0 && taken != len(batch) || (err == nil) != (taken > 0) {
			t.Fatalf("took %d of %d: %v", taken, len(batch), err)
		}
		written := 0
		if taken > 0 {
			errs := <-outcomes
			written = slices.IndexFunc(errs, func(err error) bool { return err != nil })
			if written < 0 {
				written = len(errs)
			}
			for i, err := range errs[written:] {
				if err == nil {
					t.Fatalf("message %d was written behind one that was not", written+i)
				}
			}
		}
		if n := <-got; n != written {
			t.Fatalf("%d received, %d written", n, written)
		}
	}
}

// TestReceivedAndCut: what its peer has a part of must not be sent once more.
func TestReceivedAndCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(bus).join(t)
		ours, peer := net.Pipe()
		n.conns.Add("a", ours)
		outcomes := make(chan []error, 1)
		n.stream.Receive("a", [][]byte{[]byte("hello"), []byte("behind")}, func(errs []error) { outcomes <- errs })
		io.ReadFull(peer, make([]byte, 3))
		n.conns.Evict("a", ours)
		errs := <-outcomes
		if err := errs[0]; err == nil || errors.Is(err, gcpool.ErrNotConnected) { // which a cluster may keep
			t.Errorf("the message that was cut: %v", err)
		}
		if err := errs[1]; err != gcpool.ErrMoved {
			t.Errorf("the one behind it: %v", err)
		}
	})
}

// TestTakeoverIsAnnounced: a cluster is told of a new connection, also where the
// id had one before.
func TestTakeoverIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(bus)
		one, two := b.join(t), b.join(t)
		pipe(t, one.conns, "a")
		synctest.Wait()
		b.mu.Lock()
		b.owners["a"] = owner{node: two} // as if it had been there since
		b.mu.Unlock()
		pipe(t, one.conns, "a")
		synctest.Wait()
		if one.owner("a") != one {
			t.Error("the cluster does not know of the newest connection")
		}
	})
}

// stuck is a cluster whose network takes nothing.
type stuck struct{ free chan struct{} }

func (s stuck) Changed(_, _ string)                {}
func (s stuck) Broadcast(_ string, _ []byte) error { return nil }

func (s stuck) Forward(_, _ string, batch [][]byte, done func([]error)) {
	<-s.free
	done(make([]error, len(batch)))
}

// TestForwardThatBlocks: it keeps no other id waiting.
func TestForwardThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, conns, stream := started(t)
		s := stuck{make(chan struct{})}
		if err := pool.SetCluster(s); err != nil {
			t.Fatal(err)
		}
		peer := bufio.NewReader(pipe(t, conns, "here"))
		for i := range 100 {
			add(t, stream, fmt.Sprint("elsewhere", i), "x")
		}
		add(t, stream, "here", "local")
		equal(t, "received", lines(t, peer, 1), []string{"local"})
		close(s.free)
		synctest.Wait()
		if st := settled(t, pool); st.Forwarded != 100 {
			t.Errorf("forwarded %d, want 100", st.Forwarded)
		}
	})
}

// TestClusterComesAndGoes: it may be set and left at any moment, and nothing is
// without an outcome.
func TestClusterComesAndGoes(t *testing.T) {
	pool, _, stream := started(t)
	free := make(chan struct{})
	close(free)
	end := time.Now().Add(300 * time.Millisecond)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				add(t, stream, fmt.Sprint("nobody ", n, i%50), "x")
			}
		})
	}
	for time.Now().Before(end) {
		pool.SetCluster(stuck{free})
		runtime.Gosched()
		pool.SetCluster(nil)
		runtime.Gosched()
	}
	wg.Wait()
	if err := shutdown(pool, 5*time.Second); err != nil {
		t.Error(err)
	}
	settled(t, pool)
}

// TestStatsOfConnections: a snapshot does not contradict itself.
func TestStatsOfConnections(t *testing.T) {
	pool, conns, _ := started(t)
	end := time.Now().Add(300 * time.Millisecond)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for time.Now().Before(end) {
				s, c := net.Pipe()
				conns.Add(fmt.Sprint(n), s)
				conns.Del(fmt.Sprint(n))
				c.Close()
			}
		})
	}
	for time.Now().Before(end) {
		if s := pool.Stats()[0]; uint64(s.Connections) != s.Joins-s.Leaves || s.Connections < 0 || s.Connections > 4 {
			t.Fatalf("%d connections, %d joins, %d leaves", s.Connections, s.Joins, s.Leaves)
		}
	}
	wg.Wait()
}

// TestLatencyIsThatOfASample: of one write in 64, from Add to its end.
func TestLatencyIsThatOfASample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		peer := bufio.NewReader(pipe(t, conns, "a"))
		time.Sleep(time.Hour)
		const samples = 5
		for range samples * 64 {
			outcome := make(chan error, 1)
			go func() { outcome <- stream.Deliver(t.Context(), "a", []byte("x")) }()
			time.Sleep(3 * time.Millisecond)
			lines(t, peer, 1)
			if err := <-outcome; err != nil {
				t.Fatal(err)
			}
		}
		s, want := p.Stats()[0], [16]uint64{5: samples} // of up to 3.2 ms
		if s.Latency != want || s.LatencySum != samples*3*time.Millisecond {
			t.Errorf("%d samples of each size, %v in all; want %d, of 3 ms", s.Latency, s.LatencySum, samples)
		}
	})
}

// TestReceiveWithoutDone: it is an error, and nothing is taken.
func TestReceiveWithoutDone(t *testing.T) {
	p, conns, stream := started(t)
	pipe(t, conns, "a")
	if n, err := stream.Receive("a", [][]byte{[]byte("x")}, nil); n != 0 || !errors.Is(err, gcpool.ErrInvalid) {
		t.Errorf("Receive: %d, %v", n, err)
	}
	if s := settled(t, p); s.Accepted != 0 {
		t.Errorf("%+v", s)
	}
}

// TestEvictedIDIsFollowed: what waits for it goes where it is, also if nothing is
// pushed any more; but what a Del leaves is reported.
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
			if text == "1" { // evicted
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

// TestClusterComesBeforeItsPools: it is theirs as well.
func TestClusterComesBeforeItsPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := gcpool.NewPool(), stuck{make(chan struct{})}
		close(s.free)
		p.SetCluster(s)
		p.Register(name)
		p.Start()
		if err := p.GetStream(name).Deliver(t.Context(), "far", []byte("x")); err != nil {
			t.Errorf("Deliver: %v", err)
		}
		shutdown(p, time.Second)
	})
}

// TestPeerIsNotSilentBehindABatchElsewhere, for it cannot be pinged before that is back.
func TestPeerIsNotSilentBehindABatchElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithHeartbeat(4*time.Second))
		s := stuck{make(chan struct{})}
		p.SetCluster(s)
		add(t, stream, "alice", "x")
		synctest.Wait()
		_, ws := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("alice", ws)
			io.Copy(io.Discard, ws)
		}))("")
		go io.Copy(io.Discard, ws)
		time.Sleep(time.Minute)
		if conns.Len() != 1 {
			t.Error("a peer that was not pinged is closed as silent")
		}
		close(s.free)
		time.Sleep(time.Minute)
		if conns.Len() != 1 {
			t.Error("a peer that answers is closed as silent")
		}
	})
}

// TestReceivedAndGivenUp: its peer may have it, so a cluster must not keep it, whatever
// its connection was removed for.
func TestReceivedAndGivenUp(t *testing.T) {
	for what, remove := range map[string]func(n *node, conn net.Conn){
		"Get":      func(n *node, _ net.Conn) { n.conns.Get("a", func(net.Conn) error { return io.EOF }) },
		"Del":      func(n *node, _ net.Conn) { n.conns.Del("a") },
		"Evict":    func(n *node, conn net.Conn) { n.conns.Evict("a", conn) },
		"Shutdown": func(n *node, _ net.Conn) { shutdown(n.pool, time.Second) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := new(bus).join(t)
				ours, _ := net.Pipe()
				conn := &heedless{Conn: ours, free: make(chan struct{})}
				defer close(conn.free)
				n.conns.Add("a", conn)
				outcomes := make(chan []error, 1)
				n.stream.Receive("a", [][]byte{[]byte("hello")}, func(errs []error) { outcomes <- errs })
				synctest.Wait()
				remove(n, conn)
				for _, of := range []error{gcpool.ErrNotConnected, gcpool.ErrMoved, gcpool.ErrClosed, nil} {
					if errs := <-outcomes; errors.Is(errs[0], of) {
						t.Errorf("its outcome is %v", errs[0])
					} else {
						outcomes <- errs
					}
				}
			})
		})
	}
}

// TestReceivedIsKeptInNoMailbox: it goes back to where it came from.
func TestReceivedIsKeptInNoMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		pipe(t, conns, "a") // takes nothing
		outcomes := make(chan []error, 1)
		for _, data := range []string{"under way", "behind"} {
			if n, err := stream.Receive("a", [][]byte{[]byte(data)}, func(errs []error) { outcomes <- errs }); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			synctest.Wait()
		}
		conns.Del("a")
		for range 2 {
			if errs := <-outcomes; len(errs) != 1 || errs[0] != gcpool.ErrMoved {
				t.Errorf("outcome: %v", errs)
			}
		}
		settled(t, p)
	})
}

// TestEvictedBehindAConnectionThatHeedsNothing is forwarded when the write on that is given
// up.
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
		conns.Evict("a", conn)
		time.Sleep(time.Minute)
		if s := settled(t, p); s.Forwarded != 1 || s.Undelivered != 1 {
			t.Errorf("%+v", s)
		}
	})
}
