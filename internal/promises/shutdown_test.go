package promises

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

func TestShutdownWithStalledPeersEndsWithItsContext(t *testing.T) {
	both(t, testShutdownWithStalledPeersEndsWithItsContext)
}

func testShutdownWithStalledPeersEndsWithItsContext(t *testing.T, wrap wrapper) {
	const peers, size = 10, 8 << 20 // more than the system buffers
	var reported atomic.Int64
	p, conns, stream := started(t, gcpool.WithOutbox(size), gcpool.WithUndelivered(func(u gcpool.Undelivered) {
		if errors.Is(u.Err, gcpool.ErrClosed) && len(u.Data) == size {
			reported.Add(1)
		}
	}))
	addr := serve(t, wrap, verbatim(p, func() {}))
	for i := range peers {
		id := fmt.Sprint(i)
		if i%2 == 0 {
			tcp(t, conns, id)
		} else {
			dial(t, addr, "id="+id)
		}
	}
	eventually(t, "joined", func() bool { return conns.Len() == peers })
	big := make([]byte, size)
	for i := range peers {
		if err := stream.Add(fmt.Sprint(i), big); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	err := shutdown(p, 200*time.Millisecond)
	if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("Shutdown took %v, want at most 300 ms more than its context", took)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if s := settled(t, p); s.Undelivered != peers || reported.Load() != peers {
		t.Errorf("%d undelivered, %d reported, want %d", s.Undelivered, reported.Load(), peers)
	}
	if err := stream.Add("0", nil); err != gcpool.ErrClosed {
		t.Errorf("Add after Shutdown: %v", err)
	}
}

func TestShutdownDrainsAndSaysGoodbye(t *testing.T) { both(t, testShutdownDrainsAndSaysGoodbye) }

func testShutdownDrainsAndSaysGoodbye(t *testing.T, wrap wrapper) {
	p, conns, stream := started(t)
	addr := serve(t, wrap, verbatim(p, func() {}))
	const messages = 2000
	var wg sync.WaitGroup
	for i := range 5 {
		ws := dial(t, addr, fmt.Sprint("id=", i))
		wg.Go(func() {
			defer ws.Close() // answers the close frame
			if err := readToTheGoodbye(ws, messages); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "joined", func() bool { return conns.Len() == 5 })
	raw := tcp(t, conns, "raw")
	for n := range messages {
		for i := range 5 {
			add(t, stream, fmt.Sprint(i), fmt.Sprint(n))
		}
		add(t, stream, "raw", fmt.Sprint(n))
	}
	if err := shutdown(p, 20*time.Second); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if s := settled(t, p); s.Undelivered != 0 {
		t.Errorf("%d undelivered", s.Undelivered)
	}
	in := bufio.NewReader(raw)
	if got := lines(t, in, messages)[messages-1]; got != fmt.Sprint(messages-1) {
		t.Errorf("the last line is %q", got)
	}
	if _, err := in.ReadByte(); err == nil {
		t.Error("the raw connection is still open")
	}
	wg.Wait()
}

// readToTheGoodbye reads so many messages, numbered, and then a close frame with
// status 1001.
func readToTheGoodbye(ws *websocket.Conn, messages int) error {
	for n := range messages {
		f, err := ws.NewFrameReader()
		if err != nil {
			return err
		}
		if got, _ := io.ReadAll(f); string(got) != fmt.Sprint(n, "\n") {
			return fmt.Errorf("message %d: got %q", n, got)
		}
	}
	f, err := ws.NewFrameReader()
	if err != nil {
		return err
	}
	status := make([]byte, 2)
	if f.Read(status); f.PayloadType() != 8 || !bytes.Equal(status, []byte{0x03, 0xe9}) {
		return fmt.Errorf("after the last message: frame %d with %x, want a close frame with 1001", f.PayloadType(), status)
	}
	return nil
}

func TestShutdownDeadlineOnSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithUndelivered(r.hook), gcpool.WithMailbox(time.Hour, 1000))
		pipe(t, conns, "stalled")
		for i := range 3 {
			add(t, stream, "stalled", fmt.Sprint(i))
			synctest.Wait()
		}
		add(t, stream, "away", "letter")
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- shutdown(p, 5*time.Second) }()
		synctest.Wait()
		if err := stream.Add("x", nil); err != gcpool.ErrClosed {
			t.Errorf("Add during Shutdown: %v", err)
		}
		if err := conns.Add("x", new(net.TCPConn)); err != gcpool.ErrClosed {
			t.Errorf("ConnPool.Add during Shutdown: %v", err)
		}
		if err := <-done; err != context.DeadlineExceeded {
			t.Errorf("Shutdown: %v", err)
		}
		within(t, "ended", start, 5*time.Second, 300*time.Millisecond)
		equal(t, "undelivered", r.take(t, gcpool.ErrClosed), []string{"away letter", "stalled 0", "stalled 1", "stalled 2"})
		settled(t, p)
	})
}

func TestShutdownWithoutDeadlineEndsThoughNobodyLeaves(t *testing.T) {
	both(t, testShutdownWithoutDeadlineEndsThoughNobodyLeaves)
}

func testShutdownWithoutDeadlineEndsThoughNobodyLeaves(t *testing.T, wrap wrapper) {
	synctest.Test(t, func(t *testing.T) {
		p, _, _ := started(t, gcpool.WithWriteTimeout(7*time.Second))
		raw, _ := serveMemory(t, wrap, verbatim(p, func() {}))("id=a")
		synctest.Wait()
		go func() {
			for buf := make([]byte, 10); ; { // reads, and never answers
				if _, err := raw.Read(buf); err != nil {
					return
				}
			}
		}()
		start := time.Now()
		if err := p.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		within(t, "ended", start, 7*time.Second, 100*time.Millisecond)
	})
}

func TestShutdownDeliversWhatWasNeverStarted(t *testing.T) {
	p := gcpool.NewPool()
	p.Register(name)
	peer := pipe(t, p.GetConn(name), "a")
	add(t, p.GetStream(name), "a", "early")
	got := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(peer).ReadString('\n')
		got <- line
	}()
	if err := shutdown(p, 5*time.Second); err != nil {
		t.Error(err)
	}
	if line := <-got; line != "early\n" {
		t.Errorf("received %q", line)
	}
	if err := shutdown(p, time.Second); err != nil {
		t.Errorf("a second Shutdown: %v", err)
	}
	if err := p.Register("late"); err != gcpool.ErrClosed {
		t.Errorf("Register after Shutdown: %v", err)
	}
	p.Start()
}

func TestShutdownWakesThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := gcpool.NewPool(gcpool.WithBuffer(1))
		p.Register(name)
		s := p.GetStream(name)
		add(t, s, "a", "fills the buffer")
		waiting := make(chan error, 1)
		go func() { waiting <- s.Add("a", []byte("waits")) }()
		synctest.Wait()
		if got := p.Stats()[0]; got.Accepted != 1 || s.Len() != 1 || s.Cap() != 1 {
			t.Errorf("%+v, Len %d, Cap %d", got, s.Len(), s.Cap())
		}
		shutdown(p, time.Second)
		if err := <-waiting; err != gcpool.ErrClosed {
			t.Errorf("the Add that waited: %v", err)
		}

		_, _, stream, _ := full(t, 0, gcpool.WithOverflow(gcpool.DropNewest))
		go func() { waiting <- stream.Add("a", []byte("waits")) }()
		synctest.Wait()
	})
}

func TestWhatWasAddedBeforeStartComesFirst(t *testing.T) {
	for range 50 {
		p := gcpool.NewPool()
		p.Register(name)
		conns, stream := p.GetConn(name), p.GetStream(name)
		in := bufio.NewReader(tcp(t, conns, "a"))
		const before, all = 900, 1000
		buf := make([]byte, 0, 20) // the same for all, for Add copies
		for i := range before {
			buf = fmt.Append(buf[:0], i)
			stream.Add("a", buf)
			clear(buf)
		}
		p.Start()
		for i := before; i < all; i++ {
			buf = fmt.Append(buf[:0], i)
			stream.Add("a", buf)
			clear(buf)
		}
		for i, line := range lines(t, in, all) {
			if line != fmt.Sprint(i) {
				t.Fatalf("message %d is %q", i, line)
			}
		}
		shutdown(p, time.Second)
	}
}
