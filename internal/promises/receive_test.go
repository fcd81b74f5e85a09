package promises

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestReceiveTooLarge: Receive returns an error for a message larger than the outbox. The
// messages before it are taken and have their outcomes.
func TestReceiveTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(bus).join(t, gcpool.WithOutbox(10))
		peer := bufio.NewReader(pipe(t, n.conns, "a"))
		large := make([]byte, 11)
		outcomes := make(chan []error, 1)
		batch := [][]byte{[]byte("1"), []byte("2"), large, []byte("3")}
		taken, err := local(n.stream).Receive(name, "a", batch, func(errs []error) { outcomes <- errs })
		if taken != 2 || !errors.Is(err, gcpool.ErrTooLarge) {
			t.Errorf("took %d, %v; want 2 and ErrTooLarge", taken, err)
		}
		equal(t, "received", lines(t, peer, 2), []string{"1", "2"})
		if errs := <-outcomes; len(errs) != 2 || errors.Join(errs...) != nil {
			t.Errorf("outcomes %v, want two nil", errs)
		}
		if taken, err := local(n.stream).Receive(name, "a", batch[2:], func([]error) {}); taken != 0 || !errors.Is(err, gcpool.ErrTooLarge) {
			t.Errorf("took %d, %v; want ErrTooLarge", taken, err)
		}
		if taken, err := local(n.stream).Receive(name, "", batch[2:], nil); taken != 0 || !errors.Is(err, gcpool.ErrTooLarge) {
			t.Errorf("Broadcast took %d, %v; want ErrTooLarge", taken, err)
		}
	})
}

// TestReceiveWhileEvicted: Evict interrupts the writing of a batch from another process. After the
// first message that was not written, no later one may be written, or the peer would get it twice.
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
		go local(n.conns).Evict(name, "a", old)
		outcomes := make(chan []error, 1)
		taken, err := local(n.stream).Receive(name, "a", batch, func(errs []error) { outcomes <- errs })
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
					t.Fatalf("message %d was written after one that was not", written+i)
				}
			}
		}
		if n := <-got; n != written {
			t.Fatalf("%d received, %d written", n, written)
		}
	}
}

// TestReceiveBehindWhatWasForwarded: a message is being forwarded when its id connects here. A
// message that another process sends before the outcome must not overtake it.
func TestReceiveBehindWhatWasForwarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bus{delay: time.Second, refuse: gcpool.ErrNotConnected}
		n := b.join(t)
		add(t, n.stream, "a", "1")
		synctest.Wait()
		peer := bufio.NewReader(pipe(t, n.conns, "a"))
		receive := func() (int, error) {
			return local(n.stream).Receive(name, "a", [][]byte{[]byte("2")}, func([]error) {})
		}
		if taken, err := receive(); taken != 0 || err != gcpool.ErrMoved {
			t.Errorf("took %d, %v; want ErrMoved", taken, err)
		}
		equal(t, "received", lines(t, peer, 1), []string{"1"})
		if taken, err := receive(); taken != 1 || err != nil {
			t.Errorf("took %d, %v; want 1", taken, err)
		}
		equal(t, "received", lines(t, peer, 1), []string{"2"})
	})
}

// TestReceivedAndCut: a message cut in the middle must not be sent
// again. The message behind it may be.
func TestReceivedAndCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := new(bus).join(t)
		ours, peer := net.Pipe()
		n.conns.Add("a", ours)
		outcomes := make(chan []error, 1)
		local(n.stream).Receive(name, "a", [][]byte{[]byte("hello"), []byte("behind")}, func(errs []error) { outcomes <- errs })
		io.ReadFull(peer, make([]byte, 3))
		local(n.conns).Evict(name, "a", ours)
		errs := <-outcomes
		if err := errs[0]; err == nil || errors.Is(err, gcpool.ErrNotConnected) { // a cluster could send it again
			t.Errorf("the message that was cut: %v", err)
		}
		if err := errs[1]; err != gcpool.ErrMoved {
			t.Errorf("the message behind it: %v", err)
		}
	})
}

// TestReceiveWithoutDone: Receive without a callback returns an error and takes nothing.
func TestReceiveWithoutDone(t *testing.T) {
	p, conns, stream := started(t)
	pipe(t, conns, "a")
	if n, err := local(stream).Receive(name, "a", [][]byte{[]byte("x")}, nil); n != 0 || !errors.Is(err, gcpool.ErrInvalid) {
		t.Errorf("Receive: %d, %v", n, err)
	}
	if s := settled(t, p); s.Accepted != 0 {
		t.Errorf("%+v", s)
	}
}

// TestReceivedAndGivenUp: when the pool gives up a write, the peer may already have the
// message. Its outcome must not let a cluster keep it, however the connection was removed.
func TestReceivedAndGivenUp(t *testing.T) {
	for what, remove := range map[string]func(n *node, conn net.Conn){
		"Get":      func(n *node, _ net.Conn) { n.conns.Get("a", func(net.Conn) error { return io.EOF }) },
		"Del":      func(n *node, _ net.Conn) { n.conns.Del("a") },
		"Evict":    func(n *node, conn net.Conn) { local(n.conns).Evict(name, "a", conn) },
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
				local(n.stream).Receive(name, "a", [][]byte{[]byte("hello")}, func(errs []error) { outcomes <- errs })
				synctest.Wait()
				remove(n, conn)
				for _, of := range []error{gcpool.ErrNotConnected, gcpool.ErrMoved, gcpool.ErrClosed, nil} {
					if errs := <-outcomes; errors.Is(errs[0], of) {
						t.Errorf("the outcome of the message is %v", errs[0])
					} else {
						outcomes <- errs
					}
				}
			})
		})
	}
}

// TestReceivedIsKeptInNoMailbox: a message from another process goes
// back there, not into the mailbox.
func TestReceivedIsKeptInNoMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1<<20))
		pipe(t, conns, "a") // its peer reads nothing
		outcomes := make(chan []error, 1)
		for _, data := range []string{"under way", "behind"} {
			if n, err := local(stream).Receive(name, "a", [][]byte{[]byte(data)}, func(errs []error) { outcomes <- errs }); n != 1 || err != nil {
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

// TestReceiveAfterShutdown: Receive returns ErrClosed after Shutdown.
func TestReceiveAfterShutdown(t *testing.T) {
	p, _, s := started(t)
	shutdown(p, time.Second)
	for _, id := range []string{"", "a"} {
		if taken, err := local(s).Receive(name, id, [][]byte{[]byte("x")}, func([]error) {}); taken != 0 || err != gcpool.ErrClosed {
			t.Errorf("Receive(%q) after Shutdown: %d, %v", id, taken, err)
		}
	}
}
