package libraries

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// A parting is one way to end a connection.
type parting struct {
	name string
	act  func(h *host, c *client)
	code int
	why  string // the reason in the close frame; "*" stands for the library's own
}

var partings = []parting{
	{"the client closes", func(_ *host, c *client) { c.send(final|opClose, closing(3333)) }, 3333, "*"},
	{"the handler returns", func(_ *host, c *client) { c.send(final|opText, []byte(bye)) }, 1000, ""},
	{"Del", func(h *host, _ *client) { h.conns.Del("a") }, 1000, ""},
	{"DelConn", func(h *host, _ *client) {
		h.conns.Get("a", func(conn net.Conn) error { h.conns.DelConn("a", conn); return nil })
	}, 1000, ""},
	{"Kick", func(h *host, _ *client) { h.conns.Kick("a", 4001, "x") }, 4001, "x"},
	{"takeover", func(h *host, _ *client) {
		next, _ := h.connect("a")
		go next.leave()
	}, 4500, ""},
	{"Shutdown", func(h *host, _ *client) { h.shutdownLater() }, 1001, ""},
}

// TestOneCloseFrame ends connections in every way, with handlers of all manners, and with
// clients that are silent or send all the time. Each client must read exactly one close frame,
// with the right code, and then the end of the stream; no reset may destroy it.
func TestOneCloseFrame(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		for _, how := range everyManners {
			for _, p := range partings {
				if p.name == "the handler returns" && how.name == "neither" {
					continue // whoever hijacks a connection must close it
				}
				for _, talks := range []bool{false, true} {
					name := how.name + "/" + p.name
					if talks {
						name += " on a client that talks"
					}
					t.Run(name, func(t *testing.T) {
						attempts(t, func() error { return part(t, lib, how, p, talks) })
					})
				}
			}
		}
	})
}

// part ends one connection. It also fails if the socket stayed open as long as if the client's
// answer had not been read.
func part(t *testing.T, lib library, how manners, p parting, talks bool) error {
	h := newHost(t, lib)
	h.manners = how
	c, v := h.connect("a")
	h.push("a", "hello")
	c.expect("hello")
	quiet := func() error { return nil }
	if talks {
		quiet = c.talk()
	}
	start := time.Now()
	p.act(h, c)
	e, _, err := c.readClose()
	if reset := quiet(); reset != nil {
		return reset
	}
	if p.code == 3333 && lib.silent {
		p.code = 1000 // from the end of the handler
	}
	if err != nil || e.code() != p.code || p.why != "*" && string(e.payload[2:]) != p.why {
		return fmt.Errorf("the close frame is %d %q, %v", e.code(), e.payload, err)
	}
	c.send(final|opClose, e.payload)
	if err := c.end(); err != nil {
		return err
	}
	select {
	case <-v.ended:
	case <-time.After(patience):
		return errors.New("the handler has not ended")
	}
	if took := time.Since(start); took > 5*time.Second {
		return fmt.Errorf("the connection was closed after %v, though both sides had sent close frames", took)
	}
	h.forget() // the connection that a takeover has brought
	start = time.Now()
	h.shutdown()
	if took := time.Since(start); took > grace*9/10 && !lib.pump {
		return fmt.Errorf("the socket stayed open for %v: the client's answer was not read", took)
	}
	return nil
}

// talk makes c send until the returned function is called. If a write fails before that, the
// connection was reset, and the function returns that error.
func (c *client) talk() (quiet func() error) {
	var over atomic.Bool
	done := make(chan error, 1)
	text := []byte(strings.Repeat("talk ", 200))
	started := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; !over.Load(); n++ {
			if err := c.send(final|opText, text); err != nil {
				if !over.Load() && !errors.Is(err, net.ErrClosed) {
					done <- fmt.Errorf("sending before the close frame was read: %w", err)
				}
				return
			}
			if n == 10 {
				close(started)
			}
			time.Sleep(20 * time.Microsecond)
		}
	}()
	<-started
	return func() error {
		over.Store(true)
		return <-done
	}
}

// TestHandlersOwnClose: the library sends a close frame of its own while pushes come. That must
// be the only close frame, and no push may follow it.
func TestHandlersOwnClose(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		h := newHost(t, lib)
		c, v := h.connect("a")
		var over atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			for !over.Load() {
				h.stream.Add("a", []byte("push"))
			}
		}()
		c.expect("push")
		go v.socket.close()
		e, _, err := c.leave()
		if code := e.code(); err != nil || code != 1000 && code != 1005 { // melody sends no code
			t.Errorf("closed with %d, %v", code, err)
		}
		eventually(t, "the connection is removed", func() bool { return h.conns.Len() == 0 })
		over.Store(true)
		<-done
		if err := h.deliver("a", "late"); !errors.Is(err, gcpool.ErrNotConnected) {
			t.Errorf("Deliver afterwards: %v", err)
		}
	})
}

// TestNothingAfterTheLibrarysCloseFrame: the library answers the client's close frame, and its
// handler takes its time. Pushes in that time must be refused, not sent.
func TestNothingAfterTheLibrarysCloseFrame(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		if lib.silent {
			t.Skip(errUnable)
		}
		h := newHost(t, lib)
		gate := make(chan struct{})
		h.leave = func(*visit) { <-gate }
		c, v := h.connect("a")
		c.send(final|opClose, closing(1000))
		if e, _, err := c.readClose(); err != nil || e.code() != 1000 {
			t.Errorf("answered with %d, %v", e.code(), err)
		}
		for range 10 {
			if err := h.deliver("a", "late"); !errors.Is(err, gcpool.ErrNotConnected) {
				t.Errorf("Deliver after the close frame: %v", err)
			}
		}
		close(gate)
		<-v.ended
		if err := c.end(); err != nil {
			t.Error(err)
		}
	})
}
