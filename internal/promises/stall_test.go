package promises

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestPeerThatStallsAgainIsClosed: a peer stalls, catches up and stalls again. It must be
// closed after the write timeout, as it would have been the first time.
func TestPeerThatStallsAgainIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithWriteTimeout(2*time.Second))
		peer := pipe(t, conns, "a")
		add(t, stream, "a", "1")
		time.Sleep(time.Second) // by now the peer's writer serves no other id
		add(t, stream, "a", "2")
		lines(t, bufio.NewReader(peer), 1)
		start := time.Now()
		synctest.Wait()
		for conns.Len() > 0 && time.Since(start) < time.Minute {
			time.Sleep(10 * time.Millisecond)
		}
		within(t, "closed", start, 2*time.Second, 100*time.Millisecond)
	})
}

// TestOutcomesOfAConnectionThatIsGivenUp: a connection takes some writes, then hangs
// and ignores deadlines and Close. Only the messages that it took count as written.
func TestOutcomesOfAConnectionThatIsGivenUp(t *testing.T) {
	for taken := 4; taken <= 6; taken++ {
		synctest.Test(t, func(t *testing.T) {
			var r reports
			p, conns, stream := started(t, gcpool.WithUndelivered(r.hook), gcpool.WithWriteTimeout(2*time.Second))
			f, free := deaf()
			defer free()
			stuck, writes, gate := f.write, 0, make(chan bool)
			f.write = func(data []byte) (int, error) {
				if writes++; writes == 1 || writes == 4 {
					<-gate // more messages gather in the meantime
				}
				if writes > taken {
					return stuck(data)
				}
				return len(data), nil
			}
			conns.Add("a", f)
			var all []string
			push := func(to int) {
				for n := len(all); n < to; n++ {
					all = append(all, fmt.Sprint("a ", n))
					add(t, stream, "a", fmt.Sprint(n))
					synctest.Wait()
				}
				gate <- true
				synctest.Wait()
			}
			push(4) // 0, then 1 to 3 in one piece
			push(8) // 4 to 7 in another, of which the connection takes some
			time.Sleep(10 * time.Second)
			synctest.Wait()
			equal(t, "undelivered", r.take(t, gcpool.ErrSlow), all[taken:])
			if s := settled(t, p); int(s.Written) != taken {
				t.Errorf("%d written, want %d", s.Written, taken)
			}
			free() // too late to change anything
			synctest.Wait()
			if s := settled(t, p); int(s.Written) != taken {
				t.Errorf("%d written in the end, want %d", s.Written, taken)
			}
		})
	}
}

// TestBusyIDsLetOthersThrough: an id that always has more to send must not keep a writer to itself.
func TestBusyIDsLetOthersThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1000
		_, conns, stream := started(t)
		gate, turns := make(chan bool), make([]atomic.Int64, 2*runtime.GOMAXPROCS(0))
		for i := range turns {
			f, id := newFaulty(), fmt.Sprint("busy", i)
			f.write = func(data []byte) (int, error) {
				<-gate
				if turns[i].Add(1) < most {
					stream.Add(id, []byte("more"))
				}
				return len(data), nil
			}
			conns.Add(id, f)
			add(t, stream, id, "go")
		}
		f, before := newFaulty(), int64(most)
		f.write = func(data []byte) (int, error) {
			before = turns[0].Load()
			return len(data), nil
		}
		conns.Add("other", f)
		add(t, stream, "other", "hello") // waits in line, because all writers are busy
		synctest.Wait()
		close(gate)
		synctest.Wait()
		if before > 100 {
			t.Errorf("another id was served only after %d turns", before)
		}
	})
}

// TestDelBehindAConnectionThatHeedsNothing: the previous connection hangs and ignores Close.
// Del must still close the present one at once.
func TestDelBehindAConnectionThatHeedsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t)
		f, free := deaf()
		defer free()
		conns.Add("a", f)
		add(t, stream, "a", "stuck")
		synctest.Wait()
		peer := pipe(t, conns, "a")
		start := time.Now()
		if !conns.Del("a") {
			t.Fatal("Del found nothing")
		}
		if _, err := peer.Read(make([]byte, 1)); err == nil {
			t.Error("read something")
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("closed after %v", d)
		}
	})
}

// TestWhatWaitsBehindAWriteIsReportedOnce: when a connection is removed during a write, the
// messages behind that write have exactly one outcome, and are not sent to the next connection.
func TestWhatWaitsBehindAWriteIsReportedOnce(t *testing.T) {
	for _, later := range []time.Duration{5 * time.Millisecond, time.Second} { // the write is still running, or has been given up
		synctest.Test(t, func(t *testing.T) {
			var r reports
			p, conns, stream := started(t, gcpool.WithUndelivered(r.hook))
			pipe(t, conns, "a")
			add(t, stream, "a", "1")
			synctest.Wait()
			add(t, stream, "a", "2")
			conns.Del("a")
			time.Sleep(later)
			peer := bufio.NewReader(pipe(t, conns, "a"))
			go stream.Add("a", []byte("3"))
			equal(t, "received", lines(t, peer, 1), []string{"3"})
			synctest.Wait()
			equal(t, "undelivered", r.take(t, gcpool.ErrDeleted), []string{"a 1", "a 2"})
			settled(t, p)
		})
	}
}

// TestWriteThatEndsLongAfterCloseIsBelieved: a write may end long after Close and report that
// everything was written. The pool must believe it.
func TestWriteThatEndsLongAfterCloseIsBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithWriteTimeout(time.Second))
		f, closed := newFaulty(), make(chan bool)
		f.write = func(data []byte) (int, error) {
			<-closed
			time.Sleep(time.Second)
			return len(data), nil
		}
		f.deadline = func(time.Time) error { return errors.New("no deadlines here") }
		f.close = func() error { close(closed); return nil }
		conns.Add("a", f)
		if err := stream.Deliver(t.Context(), "a", []byte("hello")); err != nil {
			t.Errorf("Deliver: %v", err)
		}
	})
}

// TestEachRemovalHasItsReason: Del reports the waiting messages with ErrDeleted,
// whatever happened to an earlier connection.
func TestEachRemovalHasItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		pipe(t, conns, "a") // its peer reads nothing
		add(t, stream, "a", "1")
		synctest.Wait()
		conns.Get("a", func(net.Conn) error { return errors.New("away with it") })
		pipe(t, conns, "a")
		add(t, stream, "a", "2")
		conns.Del("a")
		time.Sleep(time.Second)
		if s := settled(t, p); s.NotConnected != 1 || s.Deleted != 1 {
			t.Errorf("%+v", s)
		}
	})
}
