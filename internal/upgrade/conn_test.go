package upgrade

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/nettest"
)

// TestNothingPassesBetweenTryAndRest fills a socket until Try stops in
// the middle of a frame, then has the application write before Rest
// completes the frame. The application's bytes must follow that frame.
func TestNothingPassesBetweenTryAndRest(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Try leaves all to Send")
	}
	c, peer := upgradedPair(t)
	sender := Sender{c}
	pool := frame.Append(nil, frame.Binary, bytes.Repeat([]byte{'p'}, 60_000), false)
	application := frame.Append(nil, frame.Binary, bytes.Repeat([]byte{'a'}, 60_000), false)
	var want []byte
	n := 0
	for n = len(pool); n == len(pool); {
		n = sender.Try(pool)
		want = append(want, pool...)
	}
	if n == 0 {
		t.Fatal("the socket took only whole frames; the test needs frames of another size")
	}
	errs := make(chan error, 2)
	go func() {
		_, err := c.Write(application)
		errs <- err
	}()
	time.Sleep(20 * time.Millisecond) // it would have passed by now
	go func() {
		_, err := sender.Rest(pool[n:], func(int) {})
		errs <- err
	}()
	want = append(want, application...)
	got := make([]byte, len(want))
	peer.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the application's frame does not follow the pool's")
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestTryWaitsForNobody(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := &Conn{Conn: a, speech: speech{phase: frames}}
	c.turns.turn = library
	tried := make(chan int)
	go func() { tried <- Sender{c}.Try([]byte("\x81\x01x")) }()
	select {
	case n := <-tried:
		if n != 0 {
			t.Errorf("Try has written %d bytes inside a frame", n)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Try waited for the application")
	}
}

func TestTryWritesNothingBehindACutFrame(t *testing.T) {
	c, _ := upgradedPair(t)
	c.closing.cut = io.ErrShortWrite
	if n := (Sender{c}).Try([]byte("\x81\x01x")); n != 0 {
		t.Errorf("Try has written %d bytes", n)
	}
}

// TestAnyBytesPass: frames with every form of header pass, wherever they are split.
func TestAnyBytesPass(t *testing.T) {
	conn, peer := nettest.TCP(t)
	c := &Conn{Conn: conn, speech: speech{phase: frames}}
	var want []byte
	for _, p := range []string{"", "\x81", "\x00", "\x82\x7e", "\x00", "\x01", "x", "\x81\x7f\x00\x00\x00\x00\x00\x00\x00", "\x01y\x81", "\x01z"} {
		if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("Write(%q): %d, %v", p, n, err)
		}
		want = append(want, p...)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("received %q, %v; want %q", got, err, want)
	}
}

// TestResponseEndsWhereItEnds: the end of the response is found across several writes, and with
// a frame after it in the same write. A response to anything but a WebSocket is left alone.
func TestResponseEndsWhereItEnds(t *testing.T) {
	large := string(frame.Append(nil, frame.Binary, make([]byte, responseMost), false))
	for _, test := range []struct {
		writes []string
		want   phase
	}{
		{[]string{"HTTP/1.1 101 Switching Protocols\r\n\r\n"}, frames},
		{[]string{"HTTP/1.1 101 Switching Protocols\r", "\n", "\r\n"}, frames},
		{[]string{"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r", "\n"}, frames},
		{[]string{"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi"}, frames},
		{[]string{"HTTP/1.1 101 Switching Protocols\r\n\r\n" + large}, frames},
		{[]string{"HTTP/1.1 403 Forbidden\r\n\r\n"}, other},
		{[]string{"HTTP/1.1 403 Forbidden\r\n\r\n\x81"}, other},
		{[]string{"HTTP/1.1 2", "00 OK\r\n"}, other},
		{[]string{"HTTP/1.1 101 ", strings.Repeat("x", responseMost)}, other},
	} {
		conn, peer := nettest.TCP(t)
		c := &Conn{Conn: conn}
		for i, p := range test.writes {
			if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
				t.Errorf("%.60q: %d, %v", p, n, err)
			}
			if last := i == len(test.writes)-1; last && c.speech.phase != test.want || !last && c.speech.phase != response {
				t.Errorf("%.60q: after write %d the phase is %d, want %d", test.writes, i, c.speech.phase, test.want)
			}
		}
		want := strings.Join(test.writes, "")
		got := make([]byte, len(want))
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != want {
			t.Errorf("received %.60q, %v; want %.60q", got, err, want)
		}
	}
}

// TestFrameBehindTheResponseCounts: a frame counts even if it is in the same write as the response.
func TestFrameBehindTheResponseCounts(t *testing.T) {
	conn, _ := nettest.TCP(t)
	c := &Conn{Conn: conn}
	c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n\x01\x02he"))
	if held, _ := (Sender{c}).Waits(); !held {
		t.Error("the message that the frame begins is not open")
	}
	c.turns.turn = library
	if held, _ := (Sender{c}).Waits(); held {
		t.Error("Waits says that the library holds up the pool, though it is writing")
	}
}

func TestEarlyBytesAreReadFirst(t *testing.T) {
	conn, peer := nettest.TCP(t)
	early := []byte("early ")
	c := NewConn(conn, early, nil)
	copy(early, "reused") // by net/http
	peer.Write([]byte("late"))
	var got []byte
	for buf := make([]byte, 4); len(got) < len("early late"); {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	if string(got) != "early late" {
		t.Errorf("read %q", got)
	}
}

// TestConnFitsItsSizeClass: a Conn of more than 256 bytes would take 288 from Go's allocator.
func TestConnFitsItsSizeClass(t *testing.T) {
	if size := unsafe.Sizeof(Conn{}); size > 256 {
		t.Errorf("a Conn takes %d bytes", size)
	}
}
