package promises

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// faulty is a connection that calls its own functions for Write, Close and
// SetWriteDeadline.
type faulty struct {
	net.Conn
	write    func(p []byte) (int, error)
	close    func() error
	deadline func(time.Time) error
}

func (f *faulty) Write(p []byte) (int, error) {
	if f.write == nil {
		return f.Conn.Write(p)
	}
	return f.write(p)
}

func (f *faulty) Close() error {
	if f.close == nil {
		return f.Conn.Close()
	}
	return f.close()
}

func (f *faulty) SetWriteDeadline(t time.Time) error {
	if f.deadline == nil {
		return f.Conn.SetWriteDeadline(t)
	}
	return f.deadline(t)
}

func newFaulty() *faulty {
	ours, _ := net.Pipe()
	return &faulty{Conn: ours}
}

// deaf returns a connection that ignores deadlines and Close. Its
// Write blocks until free is called.
func deaf() (f *faulty, free func()) {
	f = newFaulty()
	stuck := make(chan struct{})
	f.write = func([]byte) (int, error) {
		<-stuck
		return 0, io.ErrClosedPipe
	}
	f.deadline = func(time.Time) error { return errors.New("no deadlines here") }
	f.close = func() error { return nil }
	return f, sync.OnceFunc(func() { close(stuck) })
}

func TestConnectionThatHeedsNothingDoesBoundedHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithUndelivered(r.hook), gcpool.WithWriteTimeout(2*time.Second))
		f, free := deaf()
		defer free()
		conns.Add("a", f)
		for i := range 3 {
			add(t, stream, "a", fmt.Sprint(i))
			synctest.Wait()
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		equal(t, "undelivered", r.take(t, gcpool.ErrSlow), []string{"a 0", "a 1", "a 2"})
		settled(t, p)
		in := bufio.NewReader(pipe(t, conns, "a"))
		add(t, stream, "a", "next")
		equal(t, "the next connection", lines(t, in, 1), []string{"next"})

		g, free := deaf()
		defer free()
		conns.Add("b", g)
		add(t, stream, "b", "stuck")
		synctest.Wait()
		start := time.Now()
		if err := shutdown(p, time.Second); err == nil {
			t.Error("Shutdown left a message and returned nil")
		}
		within(t, "ended", start, time.Second, 300*time.Millisecond)
		equal(t, "undelivered", r.take(t, gcpool.ErrClosed), []string{"b stuck"})
		settled(t, p)
	})
}

func TestTakeoverOfAConnectionThatHeedsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithUndelivered(r.hook))
		f, free := deaf()
		defer free()
		conns.Add("a", f)
		add(t, stream, "a", "lost")
		synctest.Wait()
		add(t, stream, "a", "kept")
		equal(t, "the next connection", lines(t, bufio.NewReader(pipe(t, conns, "a")), 1), []string{"kept"})
		free()
		synctest.Wait()
		settled(t, p)
		equal(t, "undelivered", r.take(t, gcpool.ErrSlow), []string{"a lost"})
	})
}

func TestCloseThatBlocksOrPanicsStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		stuck := make(chan struct{})
		f, g := newFaulty(), newFaulty()
		f.close = func() error { <-stuck; return nil }
		g.close = func() error { panic("close") }
		g.write = func([]byte) (int, error) { panic("write") }
		conns.Add("blocks", f)
		conns.Add("panics", g)
		if err := stream.Deliver(t.Context(), "panics", []byte("x")); !errors.Is(err, gcpool.ErrNotConnected) ||
			!strings.Contains(err.Error(), "write") {
			t.Errorf("Deliver to a connection that panics: %v", err)
		}
		synctest.Wait() // messages have their outcomes before their connection is removed
		if !conns.Del("blocks") || conns.Len() != 0 {
			t.Error("Del did not remove the connection")
		}
		start := time.Now()
		shutdown(p, time.Second)
		within(t, "Shutdown ended", start, time.Second, 300*time.Millisecond)
		close(stuck)
	})
}

func TestNothingIsWrittenAfterAShortWrite(t *testing.T) {
	var r reports
	p, conns, stream := started(t, gcpool.WithUndelivered(r.hook))
	for _, short := range []struct {
		n   int
		err error
	}{{3, nil}, {3, errors.New("reset")}, {-1, errors.New("reset")}, {100, errors.New("too many")}} {
		f := newFaulty()
		var wrote []string
		f.write = func(p []byte) (int, error) {
			wrote = append(wrote, string(p))
			if len(wrote) == 2 {
				return short.n, short.err
			}
			return len(p), nil
		}
		conns.Add("a", f)
		for i := range 4 {
			stream.Deliver(t.Context(), "a", fmt.Append(nil, "message ", i))
		}
		equal(t, "written", wrote, []string{"message 0\n", "message 1\n"})
	}
	if s := settled(t, p); s.Accepted != 16 || len(r.take(t, gcpool.ErrNotConnected)) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestResetInTheMiddleOfAWrite(t *testing.T) {
	for range 20 {
		var r reports
		p, conns, stream := started(t, gcpool.WithUndelivered(r.hook), gcpool.WithOutbox(8<<20)) // the peer does not read
		peer := tcp(t, conns, "a").(*net.TCPConn)
		data := strings.Repeat("x", 100_000)
		for i := range 50 {
			if i == 25 {
				peer.SetLinger(0)
				peer.Close()
			}
			add(t, stream, "a", data)
		}
		eventually(t, "removed", func() bool { return conns.Len() == 0 })
		r.await(t, p)
		if s := settled(t, p); s.Undelivered == 0 || len(r.take(t, gcpool.ErrNotConnected)) != int(s.Undelivered) {
			t.Errorf("%+v", s)
		}
	}
}

// picky is an error that panics when it is compared, and blocks when it is read.
type picky struct{ wait chan bool }

func (e picky) Error() string { <-e.wait; return "at last" }

func (e picky) Is(target error) bool { panic(target) }

// TestErrorThatPanicsOrBlocksStopsNobody: the error of one connection affects only that
// connection.
func TestErrorThatPanicsOrBlocksStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		wait := make(chan bool)
		n := 2*runtime.GOMAXPROCS(0) + 2
		for i := range n {
			f := newFaulty()
			f.write = func([]byte) (int, error) { return 0, picky{wait} }
			conns.Add(fmt.Sprint(i), f)
			add(t, stream, fmt.Sprint(i), "x")
		}
		peer, start := bufio.NewReader(pipe(t, conns, "live")), time.Now()
		go stream.Add("live", []byte("hello"))
		equal(t, "received", lines(t, peer, 1), []string{"hello"})
		within(t, "received", start, 0, time.Second)
		close(wait)
		synctest.Wait()
		if s := settled(t, p); s.Undelivered != uint64(n) || s.Connections != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A panicky connection writes the bytes, then panics.
type panicky struct {
	net.Conn
}

func (p panicky) Write(b []byte) (int, error) {
	p.Conn.Write(b)
	panic("after the bytes went")
}

// TestConnectionThatPanicsAfterAWriteIsNotWrittenAgain: the peer may have received the
// message, so it is not sent a second time.
func TestConnectionThatPanicsAfterAWriteIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	_, c, s := started(t, gcpool.WithMailbox(time.Hour, 1000))
	ours, peer := net.Pipe()
	c.Add("a", panicky{ours})
	got := make(chan string, 1)
	go func() { l, _ := bufio.NewReader(peer).ReadString('\n'); got <- l }()
	add(t, s, "a", "once")
	first := <-got
	eventually(t, "gone", func() bool { return c.Len() == 0 })
	second := pipe(t, c, "a")
	second.SetReadDeadline(time.Now().Add(time.Second))
	if l, err := bufio.NewReader(second).ReadString('\n'); err == nil {
		t.Errorf("delivered twice: %q and %q", first, l)
	}
}

// A waiting connection blocks in SetDeadline until its Write ends. Only Close ends the
// Write.
type waiting struct {
	net.Conn
	mu  sync.Mutex
	end chan struct{}
}

func (w *waiting) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	<-w.end
	return 0, net.ErrClosed
}

func (w *waiting) SetWriteDeadline(time.Time) error { w.mu.Lock(); defer w.mu.Unlock(); return nil }
func (w *waiting) SetDeadline(time.Time) error      { return w.SetWriteDeadline(time.Time{}) }
func (w *waiting) Close() error                     { close(w.end); return nil }

// TestCloseDoesNotWaitForADeadline: SetDeadline waits for a write that only Close can end. The
// pool must call Close anyway.
func TestCloseDoesNotWaitForADeadline(t *testing.T) {
	_, c, s := started(t, gcpool.WithWriteTimeout(100*time.Millisecond))
	conn := &waiting{end: make(chan struct{})}
	c.Add("alice", conn)
	add(t, s, "alice", "hi")
	select {
	case <-conn.end:
	case <-time.After(20 * time.Second):
		t.Fatal("Close was never called")
	}
}

// A heedless connection ignores deadlines and Close.
type heedless struct {
	net.Conn
	free chan struct{}
}

func (d *heedless) Write(p []byte) (int, error)    { <-d.free; return len(p), nil }
func (*heedless) Close() error                     { return nil }
func (*heedless) SetDeadline(time.Time) error      { return nil }
func (*heedless) SetWriteDeadline(time.Time) error { return nil }
