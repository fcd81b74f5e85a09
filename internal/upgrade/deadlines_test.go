package upgrade

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// TestDeadlineIsTheLibrarysOwn: the library's deadline bounds its wait for a turn, and never
// cuts a frame of the pool.
func TestDeadlineIsTheLibrarysOwn(t *testing.T) {
	c, peer := upgradedPair(t)
	large, sent := fill(t, c)
	c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Write([]byte("\x81\x01x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write behind a stuck batch: %d, %v", n, err)
	}
	if n, err := c.Write([]byte("\x8a\x00")); n != 2 || err != nil {
		t.Errorf("a pong after the deadline: %d, %v", n, err)
	}
	c.SetWriteDeadline(time.Time{})
	waits := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte("\x81\x01y"))
		waits <- err
	}()
	time.Sleep(20 * time.Millisecond)
	c.SetWriteDeadline(time.Now()) // wakes a waiting Write, as on any net.Conn
	if err := <-waits; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write whose deadline was moved: %v", err)
	}
	expect(t, peer, "the large frame and the pong", large+"\x8a\x00")
	if err := <-sent; err != nil {
		t.Errorf("the pool's write: %v", err)
	}
	c.SetWriteDeadline(time.Time{})
	c.Write([]byte("\x81\x01z"))
	expect(t, peer, "the library again", "\x81\x01z")
}

// TestDeadlineThatIsOverReachesNoSocket: a write past its deadline would break TLS permanently,
// even with nothing sent. gorilla sets a deadline before one write and may leave it for the next.
func TestDeadlineThatIsOverReachesNoSocket(t *testing.T) {
	server, client := tlsPair(t)
	c := NewOpen(server)
	c.SetWriteDeadline(time.Now().Add(-time.Second))
	if n, err := c.Write([]byte("\x81\x01x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write after its deadline: %d, %v", n, err)
	}
	if err := <-push(c, "\x81\x04pool"); err != nil {
		t.Errorf("the pool's write after that: %v", err)
	}
	c.Close()
	expect(t, client, "the pool's frame and the close", "\x81\x04pool"+close1000)
}

// TestDeadlinesSetAtOnce: several goroutines set deadlines while the library and the pool
// write. The deadlines may cut writes of the library, which resumes them, but none of the pool.
func TestDeadlinesSetAtOnce(t *testing.T) {
	c, peer := upgradedPair(t)
	stop := make(chan bool)
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
					c.SetDeadline(time.Now().Add(time.Duration(n%3-1) * time.Minute))
				}
			}
		})
	}
	received := make(chan error, 1)
	go func() { received <- readFrames(peer, "library", "pool", 100) }()
	all.Go(func() {
		for f := frame.Append(nil, frame.Text, []byte("library"), false); ; {
			for p := f; len(p) > 0; {
				n, err := c.Write(p)
				if p = p[n:]; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					return
				}
			}
		}
	})
	all.Go(func() {
		for s := (Sender{c}); ; {
			if _, err := s.Send(frame.Append(nil, frame.Text, []byte("pool"), false), func(int) {}); err != nil {
				select {
				case <-stop:
				default:
					t.Error(err)
				}
				return
			}
		}
	})
	if err := <-received; err != nil {
		t.Error(err)
	}
	close(stop)
	c.Kill()
	all.Wait()
}

// cutWrite has the library write p, which must be more than the socket takes. Once the socket
// is full, the deadline cuts the write.
func cutWrite(c *Conn, p []byte) (n int, err error) {
	wrote := make(chan error)
	go func() {
		m, err := c.Write(p)
		n = m
		wrote <- err
	}()
	for before := uint64(0); before == 0 || c.wrote.Load() != before; {
		before = c.wrote.Load()
		time.Sleep(50 * time.Millisecond)
	}
	c.SetWriteDeadline(time.Now())
	err = <-wrote
	return n, err
}

// readFrames reads whole frames until each of two payloads has arrived n times.
func readFrames(peer net.Conn, one, other string, n int) error {
	peer.SetReadDeadline(time.Now().Add(20 * time.Second))
	got := map[string]int{}
	for in := bufio.NewReader(peer); got[one] < n || got[other] < n; {
		head := make([]byte, 2)
		if _, err := io.ReadFull(in, head); err != nil {
			return err
		}
		payload := make([]byte, head[1])
		if _, err := io.ReadFull(in, payload); err != nil {
			return err
		}
		if text := string(payload); text != one && text != other {
			return fmt.Errorf("received %q", text)
		}
		got[string(payload)]++
	}
	return nil
}

// TestDeadlineEndsWithTheLibrarysWrite: gorilla sets a deadline before every write and leaves
// it in place. It must not cut the pool's next write.
func TestDeadlineEndsWithTheLibrarysWrite(t *testing.T) {
	c, peer := upgradedPair(t)
	deadline, err := time.Time{}, os.ErrDeadlineExceeded
	for d := 100 * time.Millisecond; errors.Is(err, os.ErrDeadlineExceeded) && d < time.Minute; d *= 2 { // a busy machine may miss a deadline
		deadline = time.Now().Add(d)
		c.SetWriteDeadline(deadline)
		_, err = c.Write([]byte("\x81\x01x"))
	}
	if err != nil {
		t.Fatal(err)
	}
	large, sent := fill(t, c)
	time.Sleep(time.Until(deadline) + 50*time.Millisecond)
	expect(t, peer, "both", "\x81\x01x"+large)
	if err := <-sent; err != nil {
		t.Errorf("the pool's write: %v", err)
	}
}

// TestWriteThatEndedEarlyGoesOn: a deadline cuts the library's write inside a frame. The pool
// must wait until the library has written the rest.
func TestWriteThatEndedEarlyGoesOn(t *testing.T) {
	c, peer := upgradedPair(t)
	f := frame.Append(nil, frame.Binary, bytes.Repeat([]byte{'l'}, 16<<20), false)
	n, err := cutWrite(c, f)
	if n == 0 || n == len(f) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Write to a full socket: %d, %v", n, err)
	}
	c.SetWriteDeadline(time.Time{})
	sent := push(c, "\x81\x04pool")
	wrote := make(chan error, 1)
	expect(t, peer, "the beginning", string(f[:n]))
	go func() {
		_, err := c.Write(f[n:])
		wrote <- err
	}()
	expect(t, peer, "the end", string(f[n:])+"\x81\x04pool")
	if err := errors.Join(<-wrote, <-sent); err != nil {
		t.Error(err)
	}
}

// slowDeadlines is a connection of the application's own type whose SetWriteDeadline blocks.
type slowDeadlines struct {
	net.Conn
	let chan struct{}
	set []time.Time // appended by one call at a time
}

func (s *slowDeadlines) SetWriteDeadline(t time.Time) error {
	<-s.let
	s.set = append(s.set, t)
	return nil
}

// TestTimePassesWhileADeadlineIsSet: in a testing/synctest bubble, time would stand still if a
// goroutine waited for a mutex here. The deadline that was set last must hold.
func TestTimePassesWhileADeadlineIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, peer := net.Pipe()
		go io.Copy(io.Discard, peer)
		slow := &slowDeadlines{Conn: ours, let: make(chan struct{})}
		c := NewOpen(slow)
		first, last := time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		c.SetWriteDeadline(first) // reaches the socket only during a write
		var ends sync.WaitGroup
		ends.Go(func() {
			if _, err := c.Write([]byte("\x81\x01x")); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		ends.Go(func() { c.SetWriteDeadline(last) })
		time.Sleep(time.Second)
		close(slow.let)
		ends.Wait()
		if want := []time.Time{first, last, {}}; !slices.Equal(slow.set, want) && !slices.Equal(slow.set, []time.Time{first, {}}) {
			t.Errorf("the deadlines were %v, want %v", slow.set, want)
		}
		c.Kill()
		peer.Close()
	})
}
