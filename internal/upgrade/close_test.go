package upgrade

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/nettest"
)

const (
	close1000 = "\x88\x02\x03\xe8"
	close1001 = "\x88\x02\x03\xe9"
	close4500 = "\x88\x02\x11\x94"
)

var takeover = frame.Status{Code: 4500}

// TestOneCloseFrame: the peer gets the first close frame that is
// asked for, whoever asks, and no other.
func TestOneCloseFrame(t *testing.T) {
	library := func(f string) func(*Conn) { return func(c *Conn) { c.Write([]byte(f)) } }
	goodbye := func(c *Conn) { Sender{c}.Goodbye(frame.StatusGoingAway) }
	closes := func(c *Conn) { c.Close() }
	replaced := func(c *Conn) { c.End(takeover, func() {}) }
	for _, test := range []struct {
		what string
		acts []func(*Conn)
		want string
	}{
		{"the library closes", []func(*Conn){closes}, close1000},
		{"it says why and closes", []func(*Conn){library(close4500), closes}, close4500},
		{"the pool closes, then the library", []func(*Conn){replaced, library(close1000), closes}, close4500},
		{"the library closes, then the pool", []func(*Conn){closes, replaced}, close1000},
		{"goodbye, the library's echo and close", []func(*Conn){goodbye, library(close1000), closes}, close1001},
		{"goodbye, then a takeover", []func(*Conn){goodbye, replaced}, close1001},
		{"a ping before", []func(*Conn){library("\x89\x00"), closes, library("\x89\x00")}, "\x89\x00" + close1000},
		{"no WebSocket", []func(*Conn){func(c *Conn) { c.speech.phase = other }, closes}, ""},
		{"no response yet", []func(*Conn){func(c *Conn) { c.speech.phase = response }, replaced}, ""},
	} {
		c, peer := upgradedPair(t)
		for _, act := range test.acts {
			act(c)
		}
		peer.SetReadDeadline(time.Now().Add(20 * time.Second))
		if got, err := io.ReadAll(peer); string(got) != test.want || err != nil {
			t.Errorf("%s: received %q, %v; want %q", test.what, got, err, test.want)
		}
	}
}

// TestCloseFrameSurvivesWhatThePeerSends: if a socket is closed with unread bytes, the kernel
// resets it, and the peer may lose what was sent before. The close frame must still arrive.
func TestCloseFrameSurvivesWhatThePeerSends(t *testing.T) {
	closes := func(c *Conn) { c.End(takeover, func() {}) }
	for what, end := range map[string]func(*Conn){
		"the library reads": func(c *Conn) {
			go io.Copy(io.Discard, onlyReads{c})
			closes(c)
		},
		"the handler has returned": func(c *Conn) {
			c.Abandon()
			closes(c)
		},
		"the handler does other things": closes,
		"the library closes": func(c *Conn) {
			c.Write([]byte(close4500))
			c.Close()
		},
	} {
		for range 5 {
			for n := 1; ; n++ {
				start := time.Now()
				err := floods(t, end)
				if err == nil {
					break
				}
				// If the machine stalls for closeGrace, which ends every close, try again: it
				// does not stall each time.
				if took := time.Since(start); took < closeGrace || n == 5 {
					t.Errorf("%s, after %v: %v", what, took, err)
					break
				}
			}
		}
	}
}

// floods has the peer send a large message and then its answer, while
// end closes the connection with 4500.
func floods(t *testing.T, end func(*Conn)) error {
	c, peer := upgradedPair(t)
	defer peer.Close()
	c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	peer.(*net.TCPConn).SetWriteBuffer(64 << 10)
	sent := make(chan error, 1)
	go func() { // much more than these buffers hold
		message := append([]byte("\x82\xff\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00"), make([]byte, 1<<20)...)
		_, err := peer.Write(append(message, "\x88\x80\x00\x00\x00\x00"...))
		sent <- err
	}()
	end(c)
	peer.SetReadDeadline(time.Now().Add(20 * time.Second))
	if got, err := io.ReadAll(peer); string(got) != close4500 || err != nil {
		return fmt.Errorf("received %q, %v", got, err)
	}
	if err := <-sent; err != nil {
		return fmt.Errorf("the peer could not send its answer: %w", err)
	}
	return nil
}

type onlyReads struct{ io.Reader }

// pipe returns a connection without CloseWrite, and its peer. It works in simulated time.
func pipe() (c *Conn, peer net.Conn) {
	ours, peer := net.Pipe()
	return &Conn{Conn: struct{ net.Conn }{ours}, speech: speech{phase: frames}}, peer
}

// TestCloseTakesNoLongerThanItMust: the linger ends when the peer's close frame or the end of
// its stream arrives, or else after a second.
func TestCloseTakesNoLongerThanItMust(t *testing.T) {
	flood := func(peer net.Conn) {
		for p := make([]byte, 64<<10); ; time.Sleep(10 * time.Millisecond) {
			if _, err := peer.Write(p); err != nil {
				return
			}
		}
	}
	for _, test := range []struct {
		what string
		peer func(net.Conn)
		want time.Duration
	}{
		{"says nothing", func(net.Conn) {}, closeGrace},
		{"answers", func(peer net.Conn) { peer.Write([]byte("\x88\x82\x00\x00\x00\x00\x03\xe8")) }, 0},
		{"answers behind a message", func(peer net.Conn) {
			peer.Write([]byte("\x81\x81\x00\x00"))
			peer.Write([]byte("\x00\x00x\x88\x80\x00\x00\x00\x00"))
		}, 0},
		{"answers behind what a proxy held", func(peer net.Conn) {
			peer.Write([]byte("\x82\xff\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00"))
			peer.Write(make([]byte, 64<<20))
			peer.Write([]byte("\x88\x80\x00\x00\x00\x00"))
		}, 0},
		{"closes", func(peer net.Conn) { peer.Close() }, 0},
		{"floods", flood, closeGrace},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, peer := pipe()
			start, over := time.Now(), make(chan time.Duration, 1)
			c.End(frame.StatusNormal, func() { over <- time.Since(start) })
			expect(t, peer, test.what, close1000)
			test.peer(peer)
			if took := <-over; took != test.want {
				t.Errorf("a peer that %s: closed after %v, want %v", test.what, took, test.want)
			}
			peer.Close()
		})
	}
}

// TestOurSideIsShutBehindTheAnswer: if our side ends before Firefox has answered, Firefox calls
// the close unclean and may withhold messages from its page. A peer that does not answer has
// half of closeGrace to do so.
func TestOurSideIsShutBehindTheAnswer(t *testing.T) {
	for _, test := range []struct {
		what       string
		peer       func(net.Conn)
		shut, want time.Duration
	}{
		{"says nothing", func(net.Conn) {}, closeGrace / 2, closeGrace},
		{"answers", func(peer net.Conn) {
			time.Sleep(closeGrace / 10)
			peer.Write([]byte("\x88\x82\x00\x00\x00\x00\x03\xe8"))
		}, closeGrace / 10, closeGrace / 10},
		{"closes", func(peer net.Conn) {
			time.Sleep(closeGrace / 10)
			peer.Close()
		}, closeGrace / 10, closeGrace / 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn, peer := net.Pipe()
			start := time.Now()
			shut, over := make(chan time.Duration, 1), make(chan time.Duration, 1)
			half := halfCloser{conn, func() { shut <- time.Since(start) }}
			c := &Conn{Conn: half, speech: speech{phase: frames}}
			c.End(frame.StatusNormal, func() { over <- time.Since(start) })
			expect(t, peer, test.what, close1000)
			test.peer(peer)
			if s, o := <-shut, <-over; s != test.shut || o != test.want {
				t.Errorf("a peer that %s: our side is shut after %v and the socket closed after %v, want %v and %v", test.what, s, o, test.shut, test.want)
			}
			peer.Close()
		})
	}
}

// TestCloseOfAPoolReadsTheAnswer: while a handler is busy with a message, no goroutine is
// inside Read. The pool must read the peer's answer.
func TestCloseOfAPoolReadsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, peer := net.Pipe()
		start := time.Now()
		shut, over := make(chan time.Duration, 1), make(chan time.Duration, 1)
		half := halfCloser{conn, func() { shut <- time.Since(start) }}
		s := Sender{&Conn{Conn: half, speech: speech{phase: frames}}}
		go s.Close(frame.StatusNormal, func() { over <- time.Since(start) })
		expect(t, peer, "of a busy handler", close1000)
		peer.Write([]byte("\x88\x82\x00\x00\x00\x00\x03\xe8"))
		if s, o := <-shut, <-over; s != 0 || o != 0 {
			t.Errorf("our side is shut after %v and the socket closed after %v, want 0 and 0", s, o)
		}
		peer.Close()
	})
}

// A halfCloser calls shut when its write side is shut.
type halfCloser struct {
	net.Conn
	shut func()
}

func (h halfCloser) CloseWrite() error {
	h.shut()
	return nil
}

// TestResetEndsTheLinger: nothing can arrive after a reset, so a reset must end the linger at once.
func TestResetEndsTheLinger(t *testing.T) {
	for n := 1; ; n++ {
		conn, peer := nettest.TCP(t)
		c := &Conn{Conn: conn, speech: speech{phase: frames}}
		over := make(chan bool)
		start := time.Now()
		c.End(frame.StatusNormal, func() { close(over) })
		expect(t, peer, "the close frame", close1000)
		peer.(*net.TCPConn).SetLinger(0)
		peer.Close()
		if <-over; time.Since(start) < closeGrace/2 {
			return
		}
		if n == 5 { // the machine may stall for half of closeGrace, but not each time
			t.Fatal("the linger went on until its timer fired")
		}
	}
}

// TestCloseNeverBlocks: Close returns at once even if the peer reads nothing.
func TestCloseNeverBlocks(t *testing.T) {
	for n := 1; ; n++ {
		c, _ := upgradedPair(t)
		_, sent := fill(t, c)
		over := make(chan bool)
		c.Close()
		c.End(frame.StatusNormal, func() { close(over) })
		late := len(sent) > 0
		<-over
		if err := <-sent; err == nil {
			t.Error("the stuck write returned no error")
		}
		if !late {
			return
		}
		if n == 5 { // the machine may stall for closeGrace, but not each time
			t.Fatal("Close returned only after the stuck write")
		}
	}
}

// TestReadAfterCloseReturnsErrClosed: Read returns ErrClosed after a close. If the library has
// sent a close frame of its own, Read still returns the peer's answer.
func TestReadAfterCloseReturnsErrClosed(t *testing.T) {
	c, peer := upgradedPair(t)
	c.End(frame.StatusNormal, func() {})
	peer.Write([]byte("late"))
	peer.Close()
	if err := c.SetReadDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetReadDeadline, which would undo the bound: %v", err)
	}
	if err := c.SetWriteDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetWriteDeadline: %v", err)
	}
	if n, err := c.Read(make([]byte, 10)); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read: %d, %v", n, err)
	}
	c, peer = upgradedPair(t)
	c.Write([]byte(close1000))
	c.End(takeover, func() {})
	peer.Write([]byte("answer"))
	if n, err := c.Read(make([]byte, 10)); n != 6 || err != nil {
		t.Errorf("Read of the answer: %d, %v", n, err)
	}
	c, peer = pipe()
	defer peer.Close()
	c.Kill()
	if n, err := c.Read(make([]byte, 10)); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read of a pipe that was killed: %d, %v", n, err)
	}
}

// TestCloseEndsTheWaitForATurn: the pool waits for the library to
// finish a message. A close must end that wait.
func TestCloseEndsTheWaitForATurn(t *testing.T) {
	for what, end := range map[string]func(*Conn){"Close": func(c *Conn) { c.Close() }, "Kill": (*Conn).Kill} {
		synctest.Test(t, func(t *testing.T) {
			c, peer := pipe()
			go io.Copy(io.Discard, peer)
			c.Write([]byte("\x01\x01x")) // the first fragment of a message
			sent := make(chan error, 1)
			go func() {
				_, err := Sender{c}.Send([]byte("\x81\x01y"), func(int) {})
				sent <- err
			}()
			synctest.Wait()
			start := time.Now()
			end(c)
			if err := <-sent; !errors.Is(err, net.ErrClosed) || time.Since(start) > 0 {
				t.Errorf("%s: Send returns %v after %v", what, err, time.Since(start))
			}
			peer.Close()
		})
	}
}

// TestAnnouncedStatusIsTheOnlyOne: the announced status is sent even
// if the handler closes before the pool does.
func TestAnnouncedStatusIsTheOnlyOne(t *testing.T) {
	c, peer := upgradedPair(t)
	s := Sender{c}
	s.Announce(takeover)
	c.Close()
	s.Close(takeover, func() {})
	peer.SetReadDeadline(time.Now().Add(20 * time.Second))
	if got, err := io.ReadAll(peer); string(got) != close4500 || err != nil {
		t.Errorf("received %q, %v; want %q", got, err, close4500)
	}
}

// TestCloseThatComesLateIsOrderlyToo: after the handler has returned, only the pool is left to
// read what the peer has sent. It must find the peer's answer.
func TestCloseThatComesLateIsOrderlyToo(t *testing.T) {
	for _, said := range []string{"", close1000} { // by the handler
		synctest.Test(t, func(t *testing.T) {
			c, peer := pipe()
			start, over := time.Now(), make(chan time.Duration, 1)
			go func() {
				c.Write([]byte(said))
				c.Abandon()
			}()
			synctest.Wait()
			Sender{c}.Close(frame.StatusNormal, func() { over <- time.Since(start) })
			expect(t, peer, "a peer", close1000)
			peer.Write([]byte("\x81\x81\x00\x00\x00\x00x\x88\x82\x00\x00\x00\x00\x03\xe8"))
			if took := <-over; took != 0 {
				t.Errorf("with %q said before, closed after %v", said, took)
			}
			peer.Close()
		})
	}
}

// tlsPair returns the two ends of a TLS connection over TCP, after the handshake.
func tlsPair(t *testing.T) (server, client *tls.Conn) {
	t.Helper()
	conn, peer := nettest.TCP(t)
	server = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	client = tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
	go server.Handshake()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	server.Handshake() // so that the handshake is over on this side too
	return server, client
}

// TestTLSEndsWithCloseNotify: without it, crypto/tls reports io.ErrUnexpectedEOF.
func TestTLSEndsWithCloseNotify(t *testing.T) {
	server, client := tlsPair(t)
	(&Conn{Conn: server, speech: speech{phase: frames}}).End(frame.StatusNormal, func() {})
	client.SetReadDeadline(time.Now().Add(20 * time.Second))
	if got, err := io.ReadAll(client); string(got) != close1000 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// certificate returns the certificate that httptest uses.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	return server.TLS.Certificates[0]
}

// TestPoolsCloseLeavesThePeersAnswerToALibrary: if a library has sent a close frame and its handler
// still runs, it expects the peer's answer. The pool's close must leave that answer to the library.
func TestPoolsCloseLeavesThePeersAnswerToALibrary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := pipe()
		go c.Write([]byte(close1000))
		expect(t, peer, "a peer", close1000)
		go Sender{c}.Close(frame.StatusNormal, func() {})
		synctest.Wait()
		const answer = "\x88\x82\x00\x00\x00\x00\x03\xe8"
		go peer.Write([]byte(answer))
		b := make([]byte, 2*len(answer))
		if n, err := c.Read(b); string(b[:n]) != answer || err != nil {
			t.Errorf("the library reads %q, %v", b[:n], err)
		}
		peer.Close()
		c.Kill()
	})
}
