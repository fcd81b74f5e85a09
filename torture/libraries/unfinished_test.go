package libraries

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// noise cannot be compressed, and is larger than any library's buffer.
var noise = func() []byte {
	p := make([]byte, 600_000)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	p[0] = 'L'
	return p
}()

// events reads everything on a goroutine, so that the server never waits for room.
func (c *client) events() <-chan event {
	all := make(chan event, 1000)
	go func() {
		defer close(all)
		for {
			e, err := c.next()
			if errors.Is(err, errBreach) {
				c.t.Error(err)
			}
			if err != nil {
				return
			}
			if e.op != opPing { // melody sends pings
				all <- e
			}
		}
	}()
	return all
}

// eachOpen runs a test for each library that can leave a message open.
func eachOpen(t *testing.T, test func(t *testing.T, lib library)) {
	each(t, func(t *testing.T, lib library) {
		if lib.closed {
			t.Skip(errUnable)
		}
		test(t, lib)
	})
}

// TestPushesWaitForTheEndOfAMessage: the library leaves a message open. Until it ends, pushes
// must wait, but control frames must pass.
func TestPushesWaitForTheEndOfAMessage(t *testing.T) {
	eachOpen(t, func(t *testing.T, lib library) {
		h := newHost(t, lib)
		c, v := h.connect("a")
		all := c.events()
		finish, err := v.socket.begin(noise)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			h.push("a", "waits")
		}
		if !lib.locks {
			c.send(final|opPing, []byte("meanwhile"))
			if e := <-all; e.op != opPong || string(e.payload) != "meanwhile" {
				t.Errorf("inside the message came %x %.40q instead of a pong", e.op, e.payload)
			}
		}
		select {
		case e := <-all:
			t.Errorf("inside the message came %x %.40q", e.op, e.payload)
		case <-time.After(100 * time.Millisecond):
		}
		if s := h.pool.Stats()[0]; s.Waiting != 100 {
			t.Errorf("inside the message %d pushes wait: %+v", s.Waiting, s)
		}
		if err := finish([]byte("tail")); err != nil {
			t.Fatal(err)
		}
		if e := <-all; e.op != opBinary || !bytes.Equal(e.payload, append(bytes.Clone(noise), "tail"...)) || e.frames < 2 {
			t.Errorf("the message came as %x, %d bytes in %d frames", e.op, len(e.payload), e.frames)
		}
		for i := range 100 {
			if e := <-all; e.op != opText || string(e.payload) != "waits" {
				t.Fatalf("push %d came as %x %.40q", i, e.op, e.payload)
			}
		}
	})
}

// TestMessageThatNeverEnds: the library leaves a message open forever.
// That does no harm until a push waits for its end. Then the connection
// is closed after WithWriteTimeout, and the push is reported.
func TestMessageThatNeverEnds(t *testing.T) {
	const timeout = 300 * time.Millisecond
	eachOpen(t, func(t *testing.T, lib library) {
		t.Parallel()
		reports := make(chan gcpool.Undelivered, 10)
		h := newHost(t, lib, gcpool.WithWriteTimeout(timeout), gcpool.WithUndelivered(func(u gcpool.Undelivered) { reports <- u }))
		c, v := h.connect("a")
		all := c.events()
		finish, err := v.socket.begin(noise)
		if err != nil {
			t.Fatal(err)
		}
		defer finish(nil) // for gws, whose goroutine waits for the rest
		time.Sleep(2 * timeout)
		if h.conns.Connected("a") != 1 {
			t.Error("closed while no push waited")
		}
		start := time.Now()
		h.push("a", "waits")
		select {
		case u := <-reports:
			if took := time.Since(start); !errors.Is(u.Err, gcpool.ErrSlow) || string(u.Data) != "waits" || took < timeout {
				t.Errorf("reported %q with %v, after %v", u.Data, u.Err, took)
			}
		case <-time.After(patience): // 100 times the limit
			t.Fatal("the push waits forever")
		}
		for e := range all { // to the end
			t.Errorf("after all that came %x %.40q", e.op, e.payload)
		}
		if h.conns.Connected("a") != 0 {
			t.Error("still connected")
		}
	})
}

// TestMessageThatNeverEndsDelaysNobody: WithWriteTimeout is so long that a message that waited
// for the open message, or for the push behind it, would wait forever.
func TestMessageThatNeverEndsDelaysNobody(t *testing.T) {
	eachOpen(t, func(t *testing.T, lib library) {
		t.Parallel()
		h := newHost(t, lib, gcpool.WithWriteTimeout(time.Hour))
		c, v := h.connect("a")
		other, _ := h.connect("b")
		c.events()
		others := other.events()
		finish, err := v.socket.begin(noise)
		if err != nil {
			t.Fatal(err)
		}
		defer finish(nil)
		h.push("a", "waits")
		for range often {
			if err := h.deliver("b", "passes"); err != nil {
				t.Fatalf("Deliver to another: %v", err)
			}
			if e := <-others; string(e.payload) != "passes" {
				t.Fatalf("the other received %x %.40q", e.op, e.payload)
			}
		}
		if s := h.pool.Stats()[0]; s.Waiting != 1 || s.Connections != 2 {
			t.Errorf("the push does not wait: %+v", s)
		}
	})
}

// TestMessageThatGoesOn: a message takes much longer than WithWriteTimeout, but never stops.
// That is progress, so the push that waits for it is written in the end.
func TestMessageThatGoesOn(t *testing.T) {
	t.Parallel()
	const timeout = 5 * time.Second // far longer than a busy machine delays the next part
	for _, lib := range libraries {
		if lib.name != "gobwas" { // its fragments leave when they are written
			continue
		}
		h := newHost(t, lib, gcpool.WithWriteTimeout(timeout))
		c, v := h.connect("a")
		all := c.events()
		s := v.socket.(*gobwasSocket)
		finish, err := s.begin([]byte("L"))
		if err != nil {
			t.Fatal(err)
		}
		h.push("a", "waits")
		for start := time.Now(); time.Since(start) < 2*timeout; time.Sleep(timeout / 50) {
			if err := s.more([]byte("...")); err != nil {
				t.Fatal(err)
			}
		}
		if err := finish([]byte("end")); err != nil {
			t.Fatal(err)
		}
		if e := <-all; e.op != opBinary || !bytes.HasSuffix(e.payload, []byte("...end")) {
			t.Errorf("the message came as %x %.40q", e.op, e.payload)
		}
		if e := <-all; string(e.payload) != "waits" {
			t.Errorf("the push came as %x %.40q", e.op, e.payload)
		}
	}
}

// TestBurstLeavesInFewWrites: 1,000 pushes wait behind a peer that does not read. The test
// counts the process's writes once the peer reads.
func TestBurstLeavesInFewWrites(t *testing.T) {
	const burst = 1000
	if _, ok := writes(); !ok {
		t.Skip("this system does not count writes")
	}
	each(t, func(t *testing.T, lib library) {
		h := newHost(t, lib, gcpool.WithOutbox(64<<20), gcpool.WithWriteTimeout(patience), gcpool.WithHeartbeat(0))
		c, _ := h.connect("a")
		large := 0
		for ; h.pool.Stats()[0].Waiting < 20; large++ {
			h.push("a", string(noise[:100_000]))
		}
		for range burst {
			h.push("a", "small")
		}
		before, _ := writes()
		for range large {
			c.expect(string(noise[:100_000]))
		}
		for range burst {
			c.expect("small")
		}
		after, _ := writes()
		if n := after - before; n > burst/5 {
			t.Errorf("%d pushes, and %d of 100 kB before them, left in %d writes", burst, large, n)
		}
	})
}
