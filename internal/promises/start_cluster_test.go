package promises

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// far is a cluster that accepts everything and records it.
type far struct {
	mu  sync.Mutex
	got []string
}

func (f *far) Changed(_, _ string) {}

func (f *far) Forward(_, id string, batch [][]byte, done func([]error)) {
	f.note(id, batch...)
	done(make([]error, len(batch)))
}

func (f *far) Broadcast(_ string, data []byte) error {
	f.note("all", data)
	time.Sleep(20 * time.Second)
	return errors.ErrUnsupported
}

func (f *far) note(id string, batch ...[]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, data := range batch {
		f.got = append(f.got, id+" "+string(data))
	}
}

func (f *far) take() (got []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	got, f.got = f.got, nil
	return got
}

// TestClusterGetsWhatIsForNobodyAtStart: at Start the cluster gets the messages for ids
// that are not connected, whether it was set before or after they were added. A cluster
// that was removed before Start gets none.
func TestClusterGetsWhatIsForNobodyAtStart(t *testing.T) {
	for _, mailbox := range []int{0, 1000} {
		for _, when := range []string{"first", "between", "last", "left", "left last"} {
			synctest.Test(t, func(t *testing.T) {
				var r reports
				p, conns, stream := idle(t, gcpool.WithMailbox(time.Hour, mailbox), gcpool.WithUndelivered(r.hook))
				c := new(far)
				set := func(now string) {
					if when == now || now == "first" && when == "left last" {
						p.SetCluster(c)
					}
				}
				set("first")
				add(t, stream, "a", "1")
				set("between")
				set("left")
				add(t, stream, "a", "2")
				if when == "left" {
					p.SetCluster(nil)
				}
				add(t, stream, "a", "3")
				set("last")
				if when == "left last" {
					p.SetCluster(nil)
				}
				time.Sleep(time.Minute)
				equal(t, "forwarded before Start", c.take(), nil)
				equal(t, "reported before Start", r.take(t, nil), nil)
				p.Start()
				synctest.Wait()
				switch {
				case when != "left" && when != "left last":
					equal(t, when+": forwarded", c.take(), []string{"a 1", "a 2", "a 3"})
					settled(t, p)
				case mailbox > 0:
					equal(t, when+": kept", lines(t, peerOf(t, conns, "a"), 3), []string{"1", "2", "3"})
				default:
					equal(t, when+": reported", r.take(t, gcpool.ErrNotConnected), []string{"a 1", "a 2", "a 3"})
					settled(t, p)
				}
			})
		}
	}
}

// TestBroadcastBeforeStartGoesToTheCluster: a Broadcast before Start goes to the
// cluster at once, and waits for its answer.
func TestBroadcastBeforeStartGoesToTheCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := idle(t)
		c := new(far)
		p.SetCluster(c)
		peer, start := peerOf(t, conns, "a"), time.Now()
		if err := stream.Broadcast([]byte("x")); err != errors.ErrUnsupported || time.Since(start) != 20*time.Second {
			t.Errorf("Broadcast: %v after %v", err, time.Since(start))
		}
		equal(t, "elsewhere", c.take(), []string{"all x"})
		p.Start()
		equal(t, "here", lines(t, peer, 1), []string{"x"})
	})
}

// TestReceiveBeforeStart: before Start, Receive takes as much as an outbox holds. It
// takes the rest after Start.
func TestReceiveBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := idle(t, gcpool.WithOutbox(10))
		peer, batch := peerOf(t, conns, "a"), [][]byte{[]byte("12345"), []byte("67890"), []byte("more")}
		outcome := make(chan []error, 1)
		taken, err := local(stream).Receive(name, "a", batch, func(errs []error) { outcome <- errs })
		if taken != 2 || err != context.Canceled {
			t.Fatalf("Receive before Start: %d, %v", taken, err)
		}
		if taken, err = local(stream).Receive(name, "away", batch, func([]error) {}); taken != 0 || err != gcpool.ErrMoved {
			t.Errorf("Receive for an id that is away: %d, %v", taken, err)
		}
		time.Sleep(time.Minute)
		p.Start()
		equal(t, "received", lines(t, peer, 2), []string{"12345", "67890"})
		if errs := <-outcome; len(errs) != 2 || errs[0] != nil || errs[1] != nil {
			t.Errorf("outcomes %v", errs)
		}
	})
}

// TestReceiveThatWaitedForStartWaitsForNoHook: before Start, a Broadcast from another process
// waits for room. After Start it must go on, even though the hooks are slow.
func TestReceiveThatWaitedForStartWaitsForNoHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := make(chan bool)
		p, conns, stream := idle(t, gcpool.WithBuffer(1), gcpool.WithUndelivered(func(gcpool.Undelivered) { <-busy }))
		for _, id := range []string{"a", "b", "c"} {
			peerOf(t, conns, id)
		}
		if err := stream.Broadcast([]byte("x")); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"a", "b", "c"} {
			conns.Kick(id, 1000, "") // one report in the hook, and more than WithBuffer waiting for it
		}
		received := make(chan error, 1)
		go func() {
			_, err := local(stream).Receive(name, "", [][]byte{[]byte("y")}, nil)
			received <- err
		}()
		synctest.Wait()
		p.Start()
		select {
		case err := <-received:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("Receive waits for the hook")
		}
		close(busy)
	})
}
