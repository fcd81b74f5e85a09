// Package fault is a connection in memory that behaves like a socket, with buffers, deadlines
// and resets, and misbehaves on demand. It blocks only on sync.Cond, so it works in the
// simulated time of testing/synctest.
package fault

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Conn is one end of a Pipe. Its functions, if set before use, replace its methods.
type Conn struct {
	OnWrite    func(p []byte) (int, error)
	OnClose    func() error
	OnDeadline func(t time.Time) error // for SetWriteDeadline

	in, out *half
}

// Pipe returns two ends of a connection. Each end takes up to size
// bytes that the other has not read.
func Pipe(size int) (a, b *Conn) {
	one, two := newHalf(size), newHalf(size)
	return &Conn{in: one, out: two}, &Conn{in: two, out: one}
}

// half is one direction of a Pipe.
type half struct {
	cond *sync.Cond
	size int

	mu       sync.Mutex
	buf      []byte
	total    int // bytes written in all
	finished bool
	deaf     bool // the reader is closed
	reset    bool
	hole     bool // bytes written are taken and lost
	choked   bool // no more bytes are taken
	reader   deadline
	writer   deadline
}

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func newHalf(size int) *half {
	h := &half{size: size}
	h.cond = sync.NewCond(&h.mu)
	return h
}

// set changes a deadline of h, and wakes those who wait when the deadline comes.
func (h *half) set(d *deadline, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.at = at; !at.IsZero() && time.Until(at) > 0 {
		d.timer = time.AfterFunc(time.Until(at), h.cond.Broadcast)
	}
	h.cond.Broadcast()
}

func (d *deadline) passed() bool { return !d.at.IsZero() && time.Until(d.at) <= 0 }

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.deaf:
			return 0, net.ErrClosed
		case h.reset:
			return 0, syscall.ECONNRESET
		case h.reader.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			h.cond.Broadcast()
			return n, nil
		case h.finished && h.hole:
			return 0, syscall.ECONNRESET // the end of the stream is lost too, but a test must end
		case h.finished:
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

// Write implements [net.Conn]. It writes while there is room, and waits for more. If it fails,
// it returns how many bytes it wrote.
func (c *Conn) Write(p []byte) (int, error) {
	if c.OnWrite != nil {
		return c.OnWrite(p)
	}
	return c.Take(p)
}

// Take is Write without OnWrite.
func (c *Conn) Take(p []byte) (n int, err error) {
	h := c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.finished:
			return n, net.ErrClosed
		case h.reset:
			return n, syscall.ECONNRESET
		case h.writer.passed():
			return n, os.ErrDeadlineExceeded
		case h.deaf:
			return n, syscall.EPIPE
		case h.hole:
			h.total += len(p) - n
			return len(p), nil
		}
		m := min(len(p)-n, h.size-len(h.buf))
		if h.choked {
			m = 0
		}
		h.buf = append(h.buf, p[n:n+m]...)
		h.total += m
		if n += m; m > 0 {
			h.cond.Broadcast()
		}
		if n == len(p) {
			return n, nil
		}
		h.cond.Wait()
	}
}

// Close implements [net.Conn].
func (c *Conn) Close() error {
	if c.OnClose != nil {
		return c.OnClose()
	}
	return c.Shut()
}

// Shut is Close without OnClose. What was written can still be read.
func (c *Conn) Shut() error {
	c.in.set(&c.in.reader, time.Time{})
	c.out.set(&c.out.writer, time.Time{})
	was := c.out.mark(func(h *half) bool { was := h.finished; h.finished = true; return was })
	c.in.mark(func(h *half) bool { h.deaf = true; return true })
	if was {
		return net.ErrClosed
	}
	return nil
}

func (h *half) mark(change func(*half) bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.cond.Broadcast()
	return change(h)
}

// Reset breaks the connection as an RST does: bytes that were not read are lost.
func (c *Conn) Reset() {
	for _, h := range []*half{c.in, c.out} {
		h.mark(func(h *half) bool { h.reset, h.buf = true, nil; return true })
	}
}

// Blackhole makes everything in either direction disappear from now on, and tells neither end.
func (c *Conn) Blackhole() {
	for _, h := range []*half{c.in, c.out} {
		h.mark(func(h *half) bool { h.hole = true; return true })
	}
}

// Choke makes c's Write take nothing, as if its buffer were full, or lets it write again.
func (c *Conn) Choke(on bool) {
	c.out.mark(func(h *half) bool { h.choked = on; return true })
}

// Closed reports whether c's own end has been closed.
func (c *Conn) Closed() bool {
	return c.out.mark(func(h *half) bool { return h.finished })
}

// Written returns how many bytes c's Write has taken in all.
func (c *Conn) Written() int {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.total
}

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.in.mark(func(h *half) bool { return h.deaf }) {
		return net.ErrClosed
	}
	c.in.set(&c.in.reader, t)
	return nil
}

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.OnDeadline != nil {
		return c.OnDeadline(t)
	}
	if c.Closed() {
		return net.ErrClosed
	}
	c.out.set(&c.out.writer, t)
	return nil
}

// LocalAddr implements [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// A Listener accepts the server ends of connections made with Dial.
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewListener returns a Listener in memory.
func NewListener() *Listener {
	return &Listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Dial makes a Pipe of size, passes one end to Accept, and returns both ends.
func (l *Listener) Dial(size int) (server, client *Conn) {
	server, client = Pipe(size)
	select {
	case l.conns <- server:
	case <-l.done:
		server.Shut()
	}
	return server, client
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }
