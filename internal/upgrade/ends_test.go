package upgrade

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/nettest"
)

var (
	ourClose   = frame.Append(nil, frame.Close, frame.StatusNormal.Payload(), false)
	theirClose = append([]byte{0x88, 0x82, 0, 0, 0, 0}, frame.StatusNormal.Payload()...)
)

// ends calls talk with a Conn and its peer. The peer must then read one close frame and the
// end, with no wait at all.
func ends(t *testing.T, talk func(c *Conn, peer net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		conn, peer := net.Pipe()
		defer peer.Close()
		began := time.Now()
		peer.SetReadDeadline(began.Add(time.Minute))
		got := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(peer)
			got <- all
		}()
		talk(&Conn{Conn: conn, speech: speech{phase: frames}}, peer)
		if all := <-got; len(all) != len(ourClose) || all[0] != ourClose[0] {
			t.Errorf("the peer has read % x", all)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the end came after %v", took)
		}
	})
}

// TestTwoCloseFramesEndAConn: once both sides have sent a close frame, the Conn ends, even if
// the library does nothing more.
func TestTwoCloseFramesEndAConn(t *testing.T) {
	for name, talk := range map[string]func(c *Conn, peer net.Conn){
		"theirs first": func(c *Conn, peer net.Conn) {
			go peer.Write(theirClose)
			io.ReadFull(c, make([]byte, len(theirClose)))
			c.Write(ourClose)
		},
		"the library's first": func(c *Conn, peer net.Conn) {
			c.Write(ourClose)
			go peer.Write(theirClose)
			io.ReadFull(c, make([]byte, len(theirClose)))
		},
		"the pool's first": func(c *Conn, peer net.Conn) {
			Sender{c}.Goodbye(frame.StatusGoingAway)
			go peer.Write(theirClose)
			io.ReadFull(c, make([]byte, len(theirClose)))
			c.Write(ourClose)
		},
		"nobody has, and an old read deadline is over": func(c *Conn, peer net.Conn) {
			c.SetReadDeadline(time.Now().Add(-time.Second))
			c.Close()
			synctest.Wait()
			peer.Write(theirClose)
		},
	} {
		t.Run(name, func(t *testing.T) { ends(t, talk) })
	}
}

// TestDroppingTakesFewReads: gobwas reads a header two bytes at a
// time. Dropping what arrives must use larger reads.
func TestDroppingTakesFewReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, peer := net.Pipe()
		defer peer.Close()
		counted := &countedReads{Conn: conn}
		c := &Conn{Conn: counted, speech: speech{phase: frames}}
		go io.Copy(io.Discard, peer)
		read := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 2))
			read <- err
		}()
		synctest.Wait()
		c.Close()
		go peer.Write(append(frame.Append(nil, frame.Binary, make([]byte, 1<<20), false), theirClose...))
		if err := <-read; err != net.ErrClosed {
			t.Errorf("Read returned %v", err)
		}
		if n := counted.n.Load(); n > 1000 {
			t.Errorf("1 MiB took %d reads", n)
		}
	})
}

// script is a connection whose Read returns the given reads in turn.
type script struct {
	net.Conn
	t     *testing.T
	reads [][]byte
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.reads) == 0 {
		s.t.Error("Read was called once too often")
		return 0, io.EOF
	}
	next := s.reads[0]
	s.reads = s.reads[1:]
	return copy(p, next), nil
}

// TestNobodyReadsInVain: a Read can last as long as the peer likes, so a Conn must not read
// when it needs nothing more.
func TestNobodyReadsInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &script{t: t}
		for _, now := range []closing{{}, {life: ended}, {life: ending, said: library, peer: silent}} {
			(&Conn{Conn: conn, closing: now}).Abandon()
			synctest.Wait()
		}
		message := []byte("\x81\x81\x00\x00\x00\x00x")
		conn.reads = [][]byte{message, theirClose}
		ending := closing{life: ending, said: pool}
		if n, err := (&Conn{Conn: conn, closing: ending}).Read(make([]byte, 100)); n != 0 || err != net.ErrClosed {
			t.Errorf("Read: %d, %v", n, err)
		}
		conn.reads = [][]byte{message}
		(&Conn{Conn: conn, closing: closing{life: ended}}).Read(make([]byte, 100))
	})
}

// TestReadsWaitInABubble: when one read waits for another in a
// testing/synctest bubble, time must pass.
func TestReadsWaitInABubble(t *testing.T) {
	for what, reads := range map[string]func(c *Conn, read func()){
		"before the close": func(c *Conn, read func()) {
			go read()
			synctest.Wait()
			c.Close()
		},
		"after it": func(c *Conn, read func()) {
			c.Close()
			synctest.Wait()
			go read()
		},
		"beside a read that never ends": func(c *Conn, read func()) {
			c.Conn = endless{c.Conn}
			go c.Read(make([]byte, 1))
			synctest.Wait()
			go read()
			c.Close()
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, peer := pipe()
			go io.Copy(io.Discard, peer)
			start, over := time.Now(), make(chan error)
			reads(c, func() {
				_, err := c.Read(make([]byte, 1))
				over <- err
			})
			if err := <-over; err != net.ErrClosed || time.Since(start) > closeGrace {
				t.Errorf("%s: %v, after %v", what, err, time.Since(start))
			}
			peer.Close()
			time.Sleep(time.Minute) // lets the read of endless return
		})
	}
}

// TestErrorsOfReadAreTheLibrarys: while the connection is alive, the
// library gets the errors of Read unchanged.
func TestErrorsOfReadAreTheLibrarys(t *testing.T) {
	c, peer := upgradedPair(t)
	c.SetReadDeadline(time.Now().Add(-time.Second))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past the deadline: %d, %v", n, err)
	}
	c.SetReadDeadline(time.Time{})
	peer.Close()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
}

// TestWhatCameBeforeThePeerLeftIsRead: a peer sends its last messages
// and closes its socket. A push notices that before the library has
// read the messages; the library must still be able to read them.
func TestWhatCameBeforeThePeerLeftIsRead(t *testing.T) {
	words := bytes.Repeat([]byte("\x81\x85\x00\x00\x00\x00hello"), 50)
	last := append(words, theirClose...)
	for what, test := range map[string]struct {
		reads int
		then  func(c *Conn)
	}{
		"to the end":                {len(last), func(c *Conn) { c.Read(make([]byte, 1)) }},
		"until the library closes":  {len(last) / 2, func(c *Conn) { c.Close() }},
		"until the handler returns": {len(last) / 2, (*Conn).Abandon},
	} {
		c, peer := upgradedPair(t)
		io.WriteString(c, "\x81\x02hi") // left unread, so the peer's close resets the connection
		peer.Write(last)
		eventuallyReset(t, c, peer)
		over := make(chan bool)
		Sender{c}.Close(frame.StatusGoingAway, func() { close(over) })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Errorf("%s: SetDeadline: %v", what, err)
		}
		got := make([]byte, test.reads)
		if n, err := io.ReadFull(c, got); !bytes.Equal(got, last[:test.reads]) || err != nil {
			t.Errorf("%s: read %d bytes of %d, %v", what, n, test.reads, err)
		}
		select {
		case <-over:
			t.Errorf("%s: the socket is closed while the library reads", what)
		default:
		}
		test.then(c)
		<-over
	}
}

// TestHandlerReturnsAfterClose: by then a goroutine drops what the peer sends, and must go on until
// the peer has answered.
func TestHandlerReturnsAfterClose(t *testing.T) {
	for n := 1; ; n++ {
		c, peer := upgradedPair(t)
		io.WriteString(c, close1000)
		over, start := make(chan bool), time.Now()
		c.End(frame.Status{}, func() { close(over) })
		c.Close()
		for reading := false; !reading; time.Sleep(time.Millisecond) {
			c.mu.Lock()
			reading = c.reading
			c.mu.Unlock()
		}
		c.Abandon()
		for range 3 {
			io.WriteString(peer, "\x81\x82\x00\x00\x00\x00hi")
			time.Sleep(5 * time.Millisecond)
		}
		peer.Write(theirClose)
		if _, err := io.Copy(io.Discard, peer); err != nil {
			t.Fatal(err)
		}
		peer.Close()
		if <-over; time.Since(start) < closeGrace/2 {
			return
		}
		if n == 5 { // a busy machine may be late, but not each time
			t.Fatal("what the peer sends is no longer dropped")
		}
	}
}

// TestLibraryThatReadsNoMoreEndsAConn: its handler may be stuck, and must not hold up Shutdown.
func TestLibraryThatReadsNoMoreEndsAConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewOpen(&script{t: t})
		c.update(func(now *closing) { now.fails(io.ErrClosedPipe, true) })
		over, start := make(chan bool), time.Now()
		Sender{c}.Close(frame.StatusGoingAway, func() { close(over) })
		if <-over; time.Since(start) != partedGrace {
			t.Errorf("it ends after %v", time.Since(start))
		}
	})
}

// eventuallyReset makes peer leave, and pushes until that fails.
func eventuallyReset(t *testing.T, c *Conn, peer net.Conn) {
	t.Helper()
	peer.Close()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := (Sender{c}).Send([]byte("\x81\x02hi"), func(int) {}); err != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("pushes to a peer that has left do not fail")
		}
	}
}

// odd is a connection whose Read claims to have read n bytes, as nbio's claims -1 for none.
type odd struct {
	net.Conn
	n int
}

func (o odd) Read([]byte) (int, error) { return o.n, io.ErrNoProgress }

// TestReadThatBreaksTheRules: a Read that breaks the rules of io.Reader must not make a
// goroutine of ours panic, which would end the process.
func TestReadThatBreaksTheRules(t *testing.T) {
	for says, want := range map[int]int{-1: 0, 3: 2} {
		c := &Conn{Conn: odd{n: says}, speech: speech{phase: frames}}
		if n, err := c.Read(make([]byte, 2)); n != want || err != io.ErrNoProgress {
			t.Errorf("a read of %d bytes into 2: %d, %v", says, n, err)
		}
	}
}

// endless is a connection whose Read ignores deadlines and Close.
type endless struct{ net.Conn }

func (endless) Read([]byte) (int, error) {
	time.Sleep(time.Minute)
	return 0, io.EOF
}

// TestWritesWaitInABubble: a pong waits for a message until the message's deadline passes.
func TestWritesWaitInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := pipe() // the peer reads nothing
		c.SetWriteDeadline(time.Now().Add(time.Second))
		sent, ponged := make(chan error), make(chan error)
		go func() {
			_, err := c.Write([]byte("\x81\x01x"))
			sent <- err
		}()
		synctest.Wait()
		go func() {
			_, err := c.Write([]byte("\x8a\x00"))
			ponged <- err
		}()
		if err := <-sent; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the message: %v", err)
		}
		if err := <-ponged; err != nil {
			t.Errorf("the pong: %v", err)
		}
		c.Kill()
		peer.Close()
	})
}

// TestDeadlineOfTheLibraryEndsNoDrop: an old deadline of the library must not end the close, even
// if the close sets its own deadline late, as a connection of the application's own type may do.
func TestDeadlineOfTheLibraryEndsNoDrop(t *testing.T) {
	ends(t, func(c *Conn, peer net.Conn) {
		c.SetReadDeadline(time.Now().Add(-time.Second))
		c.Conn = late{c.Conn}
		c.Close()
		go peer.Write(append(frame.Append(nil, frame.Text, make([]byte, 1<<20), false), theirClose...))
	})
}

// late is a connection whose SetReadDeadline starts late.
type late struct{ net.Conn }

func (l late) SetReadDeadline(t time.Time) error {
	for range 1000 {
		runtime.Gosched()
	}
	return l.Conn.SetReadDeadline(t)
}

// TestPumpReadsThePeersCloseFrame: a read pump gets the peer's close
// frame even if its handler has returned.
func TestPumpReadsThePeersCloseFrame(t *testing.T) {
	const first, next = "\x81\x81\x00\x00\x00\x001", "\x81\x81\x00\x00\x00\x002"
	for _, returns := range []string{"before a read", "while the pump reads", "between two reads"} {
		synctest.Test(t, func(t *testing.T) {
			c, peer := pipe()
			defer c.Kill()
			go io.Copy(io.Discard, peer)
			read := func() string {
				b := make([]byte, 100)
				n, err := c.Read(b)
				if err != nil {
					t.Errorf("the handler returns %s: %v", returns, err)
				}
				return string(b[:n])
			}
			if returns == "before a read" {
				c.Abandon()
			}
			got := make(chan string)
			go func() {
				got <- read()
				if returns == "between two reads" {
					c.Abandon()
				}
				got <- read() + read()
			}()
			peer.Write([]byte(first))
			if g := <-got; g != first {
				t.Errorf("the handler returns %s: read %q", returns, g)
			}
			synctest.Wait()
			if returns == "while the pump reads" {
				c.Abandon()
			}
			c.Write([]byte(close1000))
			Sender{c}.Close(takeover, func() {})
			peer.Write([]byte(next))
			peer.Write(theirClose)
			if g := <-got; g != next+string(theirClose) {
				t.Errorf("the handler returns %s: read %q", returns, g)
			}
		})
	}
}

type countedReads struct {
	net.Conn
	n atomic.Int64
}

func (c *countedReads) Read(p []byte) (int, error) {
	c.n.Add(1)
	return c.Conn.Read(p)
}

// TestASilentPeerGetsCloseNotify: the pool has sent its close frame, and the peer has had time
// to answer but did not. The TLS connection must still end with an alert.
func TestASilentPeerGetsCloseNotify(t *testing.T) {
	conn, peer := nettest.TCP(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
	c := &Conn{Conn: tls.Server(conn, config), speech: speech{phase: frames}}
	came := &recorded{Conn: peer}
	client := tls.Client(came, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	client.SetDeadline(time.Now().Add(20 * time.Second))
	go c.Conn.(*tls.Conn).Handshake()
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	u := Sender{c}
	u.Goodbye(frame.StatusGoingAway)
	if _, err := io.ReadFull(client, make([]byte, len(ourClose))); err != nil {
		t.Fatal(err)
	}
	u.Close(frame.Status{}, func() {})
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the end was %v", err)
	}
	last := byte(0) // the type of the last record, which TLS 1.2 does not encrypt
	for b := came.all; len(b) > 0; b = b[5+int(b[3])<<8+int(b[4]):] {
		last = b[0]
	}
	if last != 21 {
		t.Errorf("the last record has type %d, want 21, an alert", last)
	}
}

type recorded struct {
	net.Conn
	all []byte
}

func (r *recorded) Read(p []byte) (n int, err error) {
	n, err = r.Conn.Read(p)
	r.all = append(r.all, p[:n]...)
	return n, err
}

// TestTLSIsBrokenByADeadline: a deadline that cuts a frame breaks TLS, so the rest of the frame
// can never come. The pool must not wait for it.
func TestTLSIsBrokenByADeadline(t *testing.T) {
	conn, peer := nettest.TCP(t)
	c := &Conn{Conn: tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate(t)}}), speech: speech{phase: frames}}
	go c.Conn.(*tls.Conn).Handshake()
	if err := tls.Client(peer, &tls.Config{InsecureSkipVerify: true}).Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := cutWrite(c, frame.Append(nil, frame.Binary, make([]byte, 16<<20), false)); err == nil {
		t.Fatal("a frame of 16 MiB was written to a peer that reads nothing")
	}
	select {
	case err := <-push(c, "\x81\x00"):
		if err == nil {
			t.Error("the pool has written after the cut frame")
		}
	case <-time.After(20 * time.Second):
		t.Error("the pool waits for the end of the frame")
	}
}

// TestCloseMayFlush: a connection of the application's own type may
// hold back the last bytes until Close.
func TestCloseMayFlush(t *testing.T) {
	for range 20 {
		ends(t, func(c *Conn, peer net.Conn) {
			c.Conn = &flushes{Conn: c.Conn}
			go peer.Write(theirClose)
			io.ReadFull(c, make([]byte, len(theirClose)))
			c.Write(ourClose)
			c.Close()
		})
	}
}

// flushes is a connection whose Close writes the bytes that Write has held back.
type flushes struct {
	net.Conn
	mu   sync.Mutex
	kept []byte
}

func (f *flushes) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = append(f.kept, p...)
	return len(p), nil
}

func (f *flushes) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Conn.Write(f.kept)
	return f.Conn.Close()
}
