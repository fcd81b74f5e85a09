package promises

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/internal/nettest"
)

// library stands in for a WebSocket library other than x/net: it hijacks the connection and
// answers the handshake. The tests in torture/libraries run real libraries.
func library(t *testing.T, handle func(r *http.Request, conn net.Conn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-Websocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
		handle(r, conn)
	})
}

func TestConnWithoutUpgradeIsNil(t *testing.T) {
	if c := gcpool.Conn(nil); c != nil {
		t.Errorf("Conn of no request is %v", c)
	}
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	if c := gcpool.Conn(r); c != nil {
		t.Errorf("Conn of a request without Upgrade is %v", c)
	}
	_, conns, _ := started(t)
	if err := conns.Add("a", gcpool.Conn(r)); err == nil || !strings.Contains(err.Error(), "Upgrade") {
		t.Errorf("Add of a nil Conn: %v", err)
	}
}

// TestNewConnTakesTurnsAndCloses: the frames of a library without net/http alternate with those
// of the pool. The peer gets the close code even though bytes that it sent were never read.
func TestNewConnTakesTurnsAndCloses(t *testing.T) {
	if c := gcpool.NewConn(nil); c != nil {
		t.Errorf("NewConn of no connection is %v", c)
	}
	_, conns, stream := started(t, gcpool.WithNewline(false))
	served, peer := nettest.TCP(t)
	conn := gcpool.NewConn(served)
	io.WriteString(conn, "\x01\x02he")
	if err := conns.Add("a", conn); err != nil {
		t.Fatal(err)
	}
	add(t, stream, "a", "pushed")
	io.WriteString(conn, "\x80\x03llo")
	in := bufio.NewReader(peer)
	for _, want := range []string{"he", "llo", "pushed"} {
		if _, payload, err := frame(in); payload != want {
			t.Errorf("received %q, %v; want %q", payload, err, want)
		}
	}
	io.WriteString(peer, "\x81\x81\x00\x00\x00\x00x")
	conns.Kick("a", 4001, "bye")
	if op, payload, err := frame(in); op != 0x88 || payload != "\x0f\xa1bye" {
		t.Errorf("closed with %x %q, %v", op, payload, err)
	}
	if n, err := in.ReadByte(); err != io.EOF {
		t.Errorf("then came %x, %v", n, err)
	}
}

// TestOpcodeIsThePools: the pool sends text frames on a library's
// connection, or binary frames with WithBinary.
func TestOpcodeIsThePools(t *testing.T) {
	for binary, first := range map[bool]byte{false: 0x81, true: 0x82} {
		synctest.Test(t, func(t *testing.T) {
			_, conns, stream := started(t, gcpool.WithBinary(binary))
			raw, _ := serveMemory(t, gcpool.Upgrade, library(t, func(r *http.Request, _ net.Conn) {
				conns.Add("a", gcpool.Conn(r))
			}))("")
			synctest.Wait() // wait until it is added
			add(t, stream, "a", "x")
			if op, payload, _ := frame(bufio.NewReader(raw)); op != first || payload != "x\n" {
				t.Errorf("WithBinary(%v): received %x %q", binary, op, payload)
			}
		})
	}
}

// TestHandlerThatSaysGoodbyeAndReturns: a handler sends a close frame and returns, so nothing
// reads the peer's answer. The answer is dropped, and the connection ends in an orderly way.
func TestHandlerThatSaysGoodbyeAndReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, _ := started(t)
		raw, _ := serveMemory(t, gcpool.Upgrade, library(t, func(r *http.Request, conn net.Conn) {
			conns.Add("a", gcpool.Conn(r))
			io.WriteString(conn, "\x88\x02\x03\xe8")
			conns.Del("a")
		}))("")
		if op, payload, err := frame(bufio.NewReader(raw)); op != 0x88 || payload != "\x03\xe8" {
			t.Errorf("closed with %x %q, %v", op, payload, err)
		}
		synctest.Wait()
		start := time.Now()
		io.WriteString(raw, "\x81\x81\x00\x00\x00\x00x\x88\x82\x00\x00\x00\x00\x03\xe8")
		raw.Read(make([]byte, 1))
		if took := time.Since(start); took != 0 {
			t.Errorf("closed %v after the answer", took)
		}
	})
}

// TestLibraryThatClosesIsRemoved: a connection that its library has closed is removed at the
// next check. It stays if only its handler has returned.
func TestLibraryThatClosesIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t)
		closes := make(chan bool)
		raw, _ := serveMemory(t, gcpool.Upgrade, library(t, func(r *http.Request, conn net.Conn) {
			conns.Add("a", gcpool.Conn(r))
			go func() { // outlives the handler, as in gws
				<-closes
				conn.Close()
			}()
		}))("")
		synctest.Wait() // wait until it is added
		add(t, stream, "a", "x")
		in := bufio.NewReader(raw)
		if op, payload, _ := frame(in); op != 0x81 || payload != "x\n" {
			t.Errorf("received %x %q", op, payload)
		}
		time.Sleep(20 * time.Second)
		if conns.Connected("a") != 1 {
			t.Error("removed when its handler returned")
		}
		go func() { closes <- true }()
		equal(t, "close frames", closings(raw), []string{"1000"}) // after a ping
		time.Sleep(2 * time.Second)
		if conns.Len() != 0 {
			t.Error("still there after the library has closed it")
		}
	})
}

// TestUnfinishedMessageOfTheApplication: the pool's messages wait while the application's
// message is unfinished. The peer must not count as slow for that.
func TestUnfinishedMessageOfTheApplication(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(locked{&mu, &log}, nil))
	var r reports
	p, conns, stream := started(t, gcpool.WithLogger(logger), gcpool.WithUndelivered(r.hook),
		gcpool.WithWriteTimeout(long), gcpool.WithNewline(false))
	more := make(chan string)
	addr := serve(t, gcpool.Upgrade, library(t, func(r *http.Request, conn net.Conn) {
		io.WriteString(conn, "\x01\x02he")
		conns.Add("a", gcpool.Conn(r))
		go func() {
			for s := range more {
				io.WriteString(conn, s)
			}
		}()
		io.Copy(io.Discard, conn)
	}))
	defer close(more)
	_, in := handshake(t, addr, "", 0)
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	add(t, stream, "a", "pushed")
	for range 4 { // longer than the timeout, but progress of the application's message counts
		time.Sleep(long * 3 / 10)
		more <- "\x00\x01."
	}
	more <- "\x80\x00"
	var got []string
	receive := func() {
		_, payload, err := frame(in)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, payload)
	}
	for range 7 {
		receive()
	}
	more <- "\x01\x02no"
	receive()
	equal(t, "received", got, []string{"he", ".", ".", ".", ".", "", "pushed", "no"})
	add(t, stream, "a", "late")
	eventually(t, "removed", func() bool { return conns.Len() == 0 })
	r.await(t, p)
	equal(t, "undelivered", r.take(t, gcpool.ErrSlow), []string{"a late"})
	eventually(t, "logged", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(log.String(), "the application has begun a message and not ended it")
	})
}

// locked is a writer whose output other goroutines can read.
type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
