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

// ends calls talk with a Conn and its peer, and fails the test unless the peer then reads
// one close frame and the end, without any wait.
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

// TestTwoCloseFramesEndAConn: a library may read the peer's close frame, have its own
// sent, and do nothing more.
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

// TestDroppingTakesFewReads: gobwas reads a header of two bytes at a time.
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

// script is a connection from which a few reads come.
type script struct {
	net.Conn
	t     *testing.T
	reads [][]byte
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.reads) == 0 {
		s.t.Error("it was read once more")
		return 0, io.EOF
	}
	next := s.reads[0]
	s.reads = s.reads[1:]
	return copy(p, next), nil
}

// TestNobodyReadsInVain: a Read may last as long as the peer likes.
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

// TestReadsWaitInABubble: one read waits for the other, and testing/synctest lets time pass.
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
			time.Sleep(time.Minute) // for endless
		})
	}
}

// TestErrorsOfReadAreTheLibrarys while the connection is alive.
func TestErrorsOfReadAreTheLibrarys(t *testing.T) {
	c, peer := upgradedPair(t)
	c.SetReadDeadline(time.Now().Add(-time.Second))
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past the deadline: %d, %v", n, err)
	}
	c.SetReadDeadline(time.Time{})
	peer.Close()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

// TestWhatCameBeforeThePeerLeftIsRead: a peer says its last words and closes its socket, and a push
// finds that out before the library has read them.
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
		io.WriteString(c, "\x81\x02hi") // unread, so the peer's close resets the connection
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

// odd is a connection whose Read says that it read n bytes, as nbio's says -1 for none.
type odd struct {
	net.Conn
	n int
}

func (o odd) Read([]byte) (int, error) { return o.n, io.ErrNoProgress }

// TestReadThatBreaksTheRules of io.Reader ends no goroutine of ours, and so not the process.
func TestReadThatBreaksTheRules(t *testing.T) {
	for says, want := range map[int]int{-1: 0, 3: 2} {
		c := &Conn{Conn: odd{n: says}, speech: speech{phase: frames}}
		if n, err := c.Read(make([]byte, 2)); n != want || err != io.ErrNoProgress {
			t.Errorf("a read of %d bytes into 2: %d, %v", says, n, err)
		}
	}
}

// endless is a connection whose Read heeds neither deadline nor Close.
type endless struct{ net.Conn }

func (endless) Read([]byte) (int, error) {
	time.Sleep(time.Minute)
	return 0, io.EOF
}

// TestWritesWaitInABubble: a pong waits for a message, and the deadline of that comes.
func TestWritesWaitInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := pipe() // which takes nothing
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

// TestDeadlineOfTheLibraryEndsNoDrop, though the one of the close comes later: in a connection of
// the application's own type both may wait.
func TestDeadlineOfTheLibraryEndsNoDrop(t *testing.T) {
	ends(t, func(c *Conn, peer net.Conn) {
		c.SetReadDeadline(time.Now().Add(-time.Second))
		c.Conn = late{c.Conn}
		c.Close()
		go peer.Write(append(frame.Append(nil, frame.Text, make([]byte, 1<<20), false), theirClose...))
	})
}

// late is a connection whose SetReadDeadline begins late.
type late struct{ net.Conn }

func (l late) SetReadDeadline(t time.Time) error {
	for range 1000 {
		runtime.Gosched()
	}
	return l.Conn.SetReadDeadline(t)
}

// TestPumpReadsThePeersCloseFrame, though its handler has returned.
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

// TestASilentPeerGetsCloseNotify: the pool's close frame is out, and the peer has had the
// time to answer.
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
		t.Errorf("the last record is a %d, and no alert", last)
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

// TestTLSIsBrokenByADeadline: the pool does not wait for the end of a frame that cannot come.
func TestTLSIsBrokenByADeadline(t *testing.T) {
	conn, peer := nettest.TCP(t)
	c := &Conn{Conn: tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate(t)}}), speech: speech{phase: frames}}
	go c.Conn.(*tls.Conn).Handshake()
	if err := tls.Client(peer, &tls.Config{InsecureSkipVerify: true}).Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := cutWrite(c, frame.Append(nil, frame.Binary, make([]byte, 16<<20), false)); err == nil {
		t.Fatal("a frame of 16 MiB has gone to a peer that reads nothing")
	}
	select {
	case err := <-push(c, "\x81\x00"):
		if err == nil {
			t.Error("the pool has written behind the frame")
		}
	case <-time.After(20 * time.Second):
		t.Error("the pool waits for the end of the frame")
	}
}

// TestCloseMayFlush: a connection of the application's own type may keep the last bytes until its
// Close.
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

// flushes is a connection whose Close writes what Write has kept.
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
