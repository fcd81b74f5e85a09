package fuzz

import (
	"bufio"
	"bytes"
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/torture/internal/peer"
	"golang.org/x/net/websocket"
)

// lines is the original's handler, for the id in the request.
func lines(r *rig, ws *websocket.Conn) {
	id := ws.Request().FormValue("id")
	r.conns.Add(id, ws)
	defer r.conns.Del(id)
	br := bufio.NewReader(ws)
	for {
		if _, err := br.ReadBytes('\n'); err != nil {
			return
		}
	}
}

// FuzzPeer lets one peer send any bytes, at once or after its handshake. The server must not
// panic, another peer must get its own messages and no others, and everything must end.
func FuzzPeer(f *testing.F) {
	masked := "\x01\x02\x03\x04"
	for _, data := range []string{
		"", "\n", "hello\n",
		"\x81\x85" + masked + "hello",                        // a text frame
		"\x81\x85\x00\x00\x00\x00helloX",                     // and more bytes
		"\x81\x05hello",                                      // not masked
		"\x01\x83" + masked + "abc\x80\x83" + masked + "d\n", // fragments
		"\x89\x84" + masked + "ping",
		"\x89\xfe\x01\x00" + masked,                         // a ping that is too long
		"\x88\x82" + masked + "\x03\xe8",                    // a close frame
		"\x82\xff\x40\x00\x00\x00\x00\x00\x00\x00" + masked, // 2^62 bytes
		"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" + masked,
		"\xf1\x81" + masked + "x\x83\x81" + masked + "x", // reserved bits, and opcodes
		"GET /upgraded?id=a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://a\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x81" + masked + "x",
		"GET /upgraded?id=a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
		"POST /upgraded HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 9\r\n\r\nx",
		strings.Repeat("\x89\x80"+masked, 1000), // a flood of pings
	} {
		for i, sizes := range []string{"", "\x00", "\x02\x00\x10"} {
			f.Add([]byte(data), []byte(sizes), i != 1, i == 0)
		}
	}
	f.Fuzz(func(t *testing.T, data, sizes []byte, shaken, upgraded bool) {
		if len(data) > most {
			t.Skip("too long")
		}
		bubble(t, func(t *testing.T) { attack(t, data, sizes, shaken, upgraded) })
	})
}

// other is an id that the peer with the arbitrary bytes does not know.
const other = "other-5b1d9f62c07a4e83"

func attack(t *testing.T, data, sizes []byte, shaken, upgraded bool) {
	r := newRig(sizes, lines)
	defer r.end(t)
	got := r.collect(r.dial(t, "/upgraded?id="+other))
	_, c := r.Dial(1 << 20)
	defer c.Close()
	if shaken {
		path := map[bool]string{false: "/plain?id=a", true: "/upgraded?id=a"}[upgraded]
		if _, err := peer.Dial(c, path); err != nil {
			t.Fatal(err)
		}
	}
	c.SetWriteDeadline(time.Now().Add(time.Second)) // the server may no longer be reading
	c.Write(data)
	synctest.Wait()
	var want [][]byte
	for _, text := range []string{"one", "two", "three"} {
		if err := r.stream.Deliver(context.Background(), other, []byte(text)); err != nil {
			t.Errorf("Deliver to the other: %v", err)
		}
		r.stream.Add("a", []byte("for a"))
		want = append(want, []byte(text+"\n"))
	}
	equal(t, "the other got", got(), want)
}

func equal(t *testing.T, what string, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s %d frames, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("%s, as frame %d, %.100q, want %.100q", what, i, got[i], want[i])
		}
	}
}

// FuzzFrames sends a payload from an x/net client to its handler and back, and from the pool,
// at the same time, over connections that split it arbitrarily. Everything must arrive whole,
// and in order for each sender.
func FuzzFrames(f *testing.F) {
	for _, n := range []int{0, 1, 124, 125, 126, 127, 255, 256, 257, 4095, 65534, 65535, 65536, 70000, 140000} {
		data := bytes.Repeat([]byte("\x81\x00\n\xff~"), n/5+1)[:n]
		for i, sizes := range []string{"", "\x00\x01\x7f", "\xff\x03"} {
			f.Add(data, []byte(sizes), i%2 == 0, i > 0)
		}
	}
	f.Fuzz(func(t *testing.T, data, sizes []byte, binary, upgraded bool) {
		if len(data) > most || len(data)*16 > most && len(sizes) > 0 && bytes.Count(sizes, []byte{0}) > 1 {
			t.Skip("too long")
		}
		bubble(t, func(t *testing.T) { frames(t, data, sizes, binary, upgraded) })
	})
}

func frames(t *testing.T, data, sizes []byte, binary, upgraded bool) {
	const rounds, pushes = 3, 12
	received := make(chan []byte, rounds)
	r := newRig(sizes, func(r *rig, ws *websocket.Conn) {
		if binary {
			ws.PayloadType = websocket.BinaryFrame
		}
		r.conns.Add("a", ws)
		defer r.conns.Del("a")
		for {
			var data []byte
			if err := websocket.Message.Receive(ws, &data); err != nil {
				return
			}
			received <- data
			ws.Write(append([]byte{'<'}, data...)) // the application's own frames
		}
	})
	defer r.end(t)
	c := r.dial(t, map[bool]string{false: "/plain", true: "/upgraded"}[upgraded])
	got := r.collect(c)
	synctest.Wait()
	var pushing sync.WaitGroup
	pushing.Go(func() { // at a time when the handler is in the middle of its frames
		for range pushes {
			if err := r.stream.Add("a", append([]byte{'>'}, data...)); err != nil {
				t.Error(err)
			}
			runtime.Gosched()
		}
	})
	for range rounds {
		if _, err := c.Write(data); err != nil {
			t.Error(err)
		}
	}
	pushing.Wait()
	own, pools := apart(t, got())
	want := slicesOf(data, rounds)
	equal(t, "the client got of the application", own, want)
	equal(t, "the client got of the pool", pools, slicesOf(append(bytes.Clone(data), '\n'), pushes))
	close(received)
	var all [][]byte
	for frame := range received {
		all = append(all, frame)
	}
	equal(t, "the handler got", all, want)
}

// apart separates the frames of the application from those of the pool.
func apart(t *testing.T, all [][]byte) (own, pools [][]byte) {
	t.Helper()
	for _, frame := range all {
		switch {
		case bytes.HasPrefix(frame, []byte{'<'}):
			own = append(own, frame[1:])
		case bytes.HasPrefix(frame, []byte{'>'}):
			pools = append(pools, frame[1:])
		default:
			t.Fatalf("the client got %.100q", frame)
		}
	}
	return own, pools
}

// slicesOf returns a slice with n times data.
func slicesOf(data []byte, n int) (all [][]byte) {
	for range n {
		all = append(all, data)
	}
	return all
}
