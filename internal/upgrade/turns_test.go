package upgrade

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/nettest"
	"github.com/nulijiabei/gcpool/internal/socket"
)

// upgradedPair returns a Conn that has written its response, and its peer.
func upgradedPair(t *testing.T) (c *Conn, peer net.Conn) {
	t.Helper()
	conn, peer := nettest.TCP(t)
	return &Conn{Conn: conn, speech: speech{phase: frames}}, peer
}

// expect reads exactly want from peer.
func expect(t *testing.T, peer net.Conn, what, want string) {
	t.Helper()
	got := make([]byte, len(want))
	peer.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := io.ReadFull(peer, got); err != nil || string(got) != want {
		t.Fatalf("%s: received %.80q, %v; want %.80q", what, got[:n], err, want)
	}
}

// push sends frames as a pool does, and returns a channel that gets the error.
func push(c *Conn, frames string) chan error {
	sent := make(chan error, 1)
	go func() {
		_, err := Sender{c}.Send([]byte(frames), func(int) {})
		sent <- err
	}()
	return sent
}

// fill has the pool write a large frame until it is stuck, and returns the frame.
func fill(t *testing.T, c *Conn) (large string, sent chan error) {
	large = string(frame.Append(nil, frame.Binary, make([]byte, 16<<20), false))
	sent = push(c, large)
	for before := uint64(0); ; before = c.wrote.Load() {
		if time.Sleep(50 * time.Millisecond); before > 0 && c.wrote.Load() == before {
			return large, sent
		}
	}
}

func TestTurns(t *testing.T) {
	for _, test := range []struct {
		what          string
		now           turns
		speech        string // written by the library
		phase         phase
		library, pool bool
	}{
		{"nobody writes", turns{}, "", frames, true, true},
		{"before the response is out", turns{}, "", response, true, false},
		{"what is no WebSocket", turns{}, "", other, true, false},
		{"the library writes", turns{turn: library}, "", frames, false, false},
		{"the pool writes", turns{turn: pool}, "", frames, false, false},
		{"control frames leave", turns{turn: controls}, "", frames, false, false},
		{"a frame is cut", turns{}, "\x81\x03ab", frames, true, false},
		{"a message is open", turns{}, "\x01\x01a", frames, true, false},
		{"the pool was last, the library waits", turns{last: pool, waiting: [2]int32{1, 1}}, "", frames, true, false},
		{"the library was last, the pool waits", turns{last: library, waiting: [2]int32{1, 1}}, "", frames, false, true},
		{"the library was last, and its message is open", turns{last: library, waiting: [2]int32{1, 1}}, "\x01\x01a", frames, true, false},
		{"the pool was last and nobody waits", turns{last: pool, waiting: [2]int32{1, 0}}, "", frames, true, true},
	} {
		s := speech{phase: test.phase}
		s.wrote([]byte(test.speech))
		for w, want := range map[writer]bool{library: test.library, pool: test.pool} {
			now := test.now
			if got := now.take(w, s.betweenMessages()); got != want || got && (now.turn != w || now.last != w) {
				t.Errorf("%s: writer %d got the turn: %v; the turn is now %d", test.what, w, got, now.turn)
			}
		}
	}
}

// TestMessagesOfTheLibraryStayWhole: between the first and the last fragment of a library's
// message, only control frames may pass.
func TestMessagesOfTheLibraryStayWhole(t *testing.T) {
	c, peer := upgradedPair(t)
	c.Write([]byte("\x01\x02he"))
	sent := push(c, "\x81\x04pool")
	if err := c.control([]byte("\x89\x00"), pool); err != nil {
		t.Fatal(err)
	}
	expect(t, peer, "a ping inside a message", "\x01\x02he\x89\x00")
	if n := (Sender{c}).Try([]byte("\x81\x04pool")); n != 0 {
		t.Errorf("Try wrote %d bytes inside a message", n)
	}
	c.Write([]byte("\x00\x01l"))
	c.Write([]byte("\x80\x02"))
	c.Write([]byte("o"))
	c.control([]byte("\x89\x01x"), pool) // must not go inside the frame
	c.Write([]byte("!"))
	expect(t, peer, "the rest", "\x00\x01l\x80\x02o!\x89\x01x\x81\x04pool")
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestControlFramesNeverWait: a library answers pings from its read loop, which must not wait
// for a batch that the peer does not read.
func TestControlFramesNeverWait(t *testing.T) {
	c, peer := upgradedPair(t)
	large, sent := fill(t, c)
	for _, f := range []string{"\x8a\x011", "\x89\x01a", "\x8a\x012", "\x8a", "\x013"} {
		if n, err := c.Write([]byte(f)); n != len(f) || err != nil {
			t.Fatalf("Write(%q): %d, %v", f, n, err)
		}
	}
	c.control([]byte("\x89\x00"), pool) // must not replace the library's ping
	expect(t, peer, "the large frame", large)
	expect(t, peer, "the newest of each kind", "\x89\x01a\x8a\x013")
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if _, err := c.Write([]byte("\x8a\x7e\x00\x7e" + string(make([]byte, 126)))); err == nil {
		t.Error("a pong of 126 bytes was taken")
	}
	if err := <-push(c, "\x81\x00"); err == nil {
		t.Error("the pool has written into that pong")
	}
}

// TestControlFramesOfAnyFormWait: a server's mask, or a header longer than necessary, violates
// RFC 6455, but it is up to the peer to judge that.
func TestControlFramesOfAnyFormWait(t *testing.T) {
	for _, forms := range [][2]string{
		{"\x89\x81\x00\x00\x00\x00a", "\x8a\xfe\x00\x01\x00\x00\x00\x00b"},
		{"\x89\x7e\x00\x01a", "\x8a\x7f\x00\x00\x00\x00\x00\x00\x00\x01b"},
	} {
		c := &Conn{speech: speech{phase: frames}, turns: turns{turn: pool}}
		for range 2 {
			for _, f := range forms {
				if n, err := c.Write([]byte(f)); n != len(f) || err != nil {
					t.Fatalf("Write(%q): %d, %v", f, n, err)
				}
			}
		}
		if due := bytes.Join(c.turns.due, nil); string(due) != forms[0]+forms[1] {
			t.Errorf("due are %q, want one each of %q", due, forms)
		}
	}
}

// TestControlFrameWaitsForRoomOnItsOwn: a pong leaves a full socket
// when it has room, without another write.
func TestControlFrameWaitsForRoomOnItsOwn(t *testing.T) {
	c, peer := upgradedPair(t)
	whole := frame.Append(nil, frame.Binary, make([]byte, 16<<20), false)
	n := 0
	for full := 0; full < 5; full++ { // the system may make room a moment later
		if m := socket.WriteNow(c.Conn, whole[n:]); m > 0 {
			n, full = n+m, 0
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.Write([]byte("\x8a\x011"))
	c.Write([]byte("\x8a\x012"))
	c.Write([]byte("\x8a\x013"))
	expect(t, peer, "what fills the socket", string(whole[:n]))
	expect(t, peer, "pongs", "\x8a\x011\x8a\x013")
}

// TestNothingFollowsAFrameOfThePoolThatWasCut: no message, pong or close frame may follow it.
func TestNothingFollowsAFrameOfThePoolThatWasCut(t *testing.T) {
	c, peer := upgradedPair(t)
	large, sent := fill(t, c)
	c.Write([]byte("\x8a\x03due"))
	c.Conn.SetWriteDeadline(time.Now()) // stands in for a network failure
	if err := <-sent; err == nil {
		t.Fatal("the large frame was not cut")
	}
	c.Conn.SetWriteDeadline(time.Time{})
	for _, f := range []string{"\x81\x01x", "\x8a\x00", close1000} {
		if _, err := c.Write([]byte(f)); err == nil {
			t.Errorf("Write(%q) after a cut frame returned no error", f)
		}
	}
	peer.SetReadDeadline(time.Now().Add(20 * time.Second))
	got := make([]byte, c.wrote.Load())
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // anything that follows would be here by now
	c.Close()
	rest, err := io.ReadAll(peer)
	if got = append(got, rest...); err != nil || len(got) == 0 || len(got) >= len(large) || string(got) != large[:len(got)] {
		t.Errorf("received %d bytes of %d, or other bytes, %v", len(got), len(large), err)
	}
}

// TestWhoeverGivesUpWakesWhoLetItGoFirst: the library is to go first but gives up, so it must
// wake the pool, or no one else will.
func TestWhoeverGivesUpWakesWhoLetItGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Conn{speech: speech{phase: frames}, turns: turns{turn: controls, last: pool}}
		c.deadline = time.Now().Add(time.Second)
		errs := make(chan error, 2)
		for _, w := range []writer{pool, library} {
			go func() { errs <- c.acquire(w) }()
		}
		synctest.Wait()
		c.mu.Lock()
		c.turns.turn = nobody // the pool sees this, and lets the library go first
		c.mu.Unlock()
		if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the library gets %v", err)
		}
		if err := <-errs; err != nil {
			t.Errorf("the pool gets %v", err)
		}
	})
}
