package torture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/peer"
	"golang.org/x/net/websocket"
)

// rawFrame returns a frame as a peer may send it, masked unless mask is nil.
func rawFrame(first byte, mask, payload []byte) []byte {
	bit := byte(0)
	if mask != nil {
		bit = 0x80
	}
	b := []byte{first}
	if n := len(payload); n <= 125 {
		b = append(b, bit|byte(n))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, bit|126), uint16(n))
	}
	b = append(b, mask...)
	for i, c := range payload {
		if mask != nil {
			c ^= mask[i%4]
		}
		b = append(b, c)
	}
	return b
}

// strange returns frames, with a description and what a handler reads from them. None of them
// ends a connection. RFC 6455 requires some of them to be refused with 1002, but x/net takes
// reserved bits and opcodes as data, and passes them to the handler.
func strange(rnd *rand.Rand) (what string, frames []byte, reads string) {
	mask := binary.BigEndian.AppendUint32(nil, rnd.Uint32())
	text := strings.Repeat(string(rune('a'+rnd.IntN(26))), rnd.IntN(200)) + "\n"
	frame := func(first byte, payload string) { frames = append(frames, rawFrame(first, mask, []byte(payload))...) }
	switch rnd.IntN(9) {
	case 0:
		what, reads = "whole", text
		frame(0x81+byte(rnd.IntN(2)), text)
	case 1:
		what, reads = "fragments", text
		cut := rnd.IntN(len(text))
		frame(0x01, text[:cut])
		frame(0x89, "a ping in between")
		frame(0x00, "")
		frame(0x80, text[cut:])
	case 2:
		what, reads = "the end of nothing", text
		frame(0x80, text)
	case 3:
		what, reads = "reserved bits", text
		frame(0x81|byte(1+rnd.IntN(7))<<4, text)
	case 4:
		what, reads = "an unknown opcode", text
		frame([]byte{0x83, 0x87, 0x8b, 0x8f}[rnd.IntN(4)], text)
	case 5:
		what = "an unfinished ping"
		frame(0x09, "ping")
	case 6:
		what = "a ping that is too long"
		frame(0x89, strings.Repeat("p", 126+rnd.IntN(1000)))
	case 7:
		what = "a pong that nobody asked for"
		frame(0x8a, text[:min(125, len(text))])
	default:
		what = "nothing"
		frame(0x81, "")
		frame(0x82, "")
	}
	return what, frames, reads
}

// TestFault16StrangeFrames: whatever frames a peer sends, and however they are split, messages
// to it arrive whole and in order. A frame without a mask closes the connection with 1002.
func TestFault16StrangeFrames(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		r := newRig(t, gcpool.WithHeartbeat(0))
		var read bytes.Buffer // bytes that the handler of "a" has read
		r.read = func(ws *websocket.Conn) {
			if ws.Request().FormValue("id") == "a" {
				read.ReadFrom(ws)
				return
			}
			lines(ws)
		}
		u := r.reader("a", kinds[1+rnd.IntN(2)])
		r.reader("b", pick(rnd))
		var all, want []string
		for range 1 + rnd.IntN(12) {
			what, frames, reads := strange(rnd)
			all, want = append(all, what), append(want, reads)
			for len(frames) > 0 {
				n := 1 + rnd.IntN(len(frames))
				if _, err := u.Conn.Write(frames[:n]); err != nil {
					t.Fatalf("%q: the server does not take it: %v", all, err)
				}
				frames = frames[n:]
				r.push(1, "a", 40+rnd.IntN(1000))
			}
			synctest.Wait()
			if got := read.String(); got != strings.Join(want, "") {
				t.Fatalf("of %q the handler read %q, want %q", all, got, want)
			}
			for _, id := range []string{"a", "b"} {
				if err := r.deliver(1, id, 40); err != nil {
					t.Fatalf("%q: Deliver to %s: %v", all, id, err)
				}
			}
		}
		status := 1001
		if rnd.IntN(2) == 0 {
			status = 1002
			r.unmask(u, rnd)
		}
		s, err := r.done(time.Minute)
		if err != nil || s.Undelivered != s.NotConnected || u.Status != status || u.err != nil {
			t.Errorf("%q: Shutdown: %v, the peer ends with %d, %v: %+v", all, err, u.Status, u.err, s)
		}
		if got := r.ledger.Totals(); got.Received != s.Written {
			t.Errorf("%q: received %d messages of %d written", all, got.Received, s.Written)
		}
	})
}

// unmask sends an unmasked frame of any kind as u, and checks that the connection ends.
func (r *rig) unmask(u *user, rnd *rand.Rand) {
	first := []byte{0x81, 0x82, 0x01, 0x80, 0x88, 0x89, 0x8a, 0xc1, 0x83}[rnd.IntN(9)]
	u.Conn.Write(rawFrame(first, nil, make([]byte, rnd.IntN(200))))
	synctest.Wait()
	if s := r.stats(); s.Connections != 1 || !u.server.Closed() {
		r.t.Errorf("after an unmasked %#x: %+v", first, s)
	}
	if err := r.deliver(1, "a", 40); !errors.Is(err, gcpool.ErrNotConnected) {
		r.t.Errorf("after an unmasked %#x, Deliver: %v", first, err)
	}
	if err := r.deliver(1, "b", 40); err != nil {
		r.t.Errorf("after an unmasked %#x, Deliver to another: %v", first, err)
	}
}

// origins lists the Host and Origin headers of handshakes, and whether SameOrigin
// admits them.
var origins = []struct {
	host, origin string
	in           bool
}{
	{"localhost", "http://localhost", true},
	{"localhost", "https://localhost:443", true}, // a proxy may terminate TLS
	{"localhost", "http://LOCALHOST:80", true},
	{"localhost:8080", "http://localhost:8080", true},
	{"[::1]:8080", "http://[::1]:8080", true},
	{"[::1]", "http://[::1]:80", true},
	{"localhost", "", false},
	{"localhost", "null", false},
	{"localhost", "http://evil.example", false},
	{"localhost", "http://localhost:8080", false},
	{"localhost:8080", "http://localhost", false},
	{"localhost", "http://localhost.evil.example", false},
	{"localhost", "http://evillocalhost", false},
	{"localhost", "http://sub.localhost", false},
	{"localhost", "http://localhost@evil.example", false},
	{"localhost", "http://evil.example/localhost", false},
	{"localhost", "http://evil.example?localhost", false},
	{"localhost", "http://evil.example#http://localhost", false},
	{"localhost", "//localhost", false},
	{"localhost", "localhost", false},
	{"localhost", "file://localhost", false},
	{"localhost", "ws://localhost", false},
	{"localhost", "javascript://localhost", false},
	{"localhost", "chrome-extension://localhost", false},
	{"localhost", "http://", false},
	{"localhost", "http://local%68ost.evil.example", false},
	{"localhost", "http://localhost:http", false},
	{"localhost", "http://[::1", false},
	{"[::1]:8080", "http://[::2]:8080", false},
	{"127.0.0.1", "http://127.0.0.1.evil.example", false},
}

// TestFault17ForeignOrigin: SameOrigin answers a page of another site, a page without an
// origin, and a peer that sends no Origin header with 403. None of them reaches the handler or
// the pool, and their connections are closed.
func TestFault17ForeignOrigin(t *testing.T) {
	for _, k := range kinds[1:] {
		t.Run(k.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				var ran []string // the origins for which the handler ran
				server := websocket.Server{Handshake: gcpool.SameOrigin, Handler: func(ws *websocket.Conn) {
					ran = append(ran, ws.Config().Origin.String())
					r.handle(ws)
				}}
				r.mux.Handle("/same/plain", server)
				r.mux.Handle("/same/upgraded", gcpool.Upgrade(server))
				var want []string
				for _, o := range origins {
					if r.knock(k, o.host, o.origin, o.in); o.in {
						want = append(want, o.origin)
					}
				}
				if fmt.Sprint(ran) != fmt.Sprint(want) {
					t.Errorf("the handler ran for %q, want %q", ran, want)
				}
				if s := r.stats(); s.Joins != uint64(len(want)) || s.Leaves != s.Joins {
					t.Errorf("%d should have been let in: %+v", len(want), s)
				}
				if err := r.end(time.Minute); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// knock sends a handshake and checks the answer.
func (r *rig) knock(k kind, host, origin string, in bool) {
	conn, _ := r.dial()
	server := r.last
	p, err := peer.Dial(conn, "/same/"+k.String()+"?id=a&n=bare", "Host", host, "Origin", origin)
	synctest.Wait()
	defer time.Sleep(3 * time.Second) // until the pool has seen that the handler ended
	defer conn.Close()
	switch {
	case in && (err != nil || r.conns.Len() != 1):
		r.t.Errorf("%q was not let in by %q: %v", origin, host, err)
	case in:
		if err := r.stream.Deliver(r.t.Context(), "a", []byte("hello")); err != nil {
			r.t.Errorf("Deliver: %v", err)
		}
		if _, hello, err := p.Frame(); string(hello) != "hello\n" {
			r.t.Errorf("%q got %q, %v", origin, hello, err)
		}
	case err == nil || !strings.Contains(err.Error(), "403") || r.conns.Len() != 0 || !server.Closed():
		r.t.Errorf("%q was not refused by %q: %v, %d connected", origin, host, err, r.conns.Len())
	}
}
