package promises

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestFramesNeverMix: the peer pings, the application writes a megabyte at a time, and the pool
// pushes, all at once. The test parses the stream byte by byte.
func TestFramesNeverMix(t *testing.T) {
	const rounds, pushes, big = 20, 4000, 1 << 20
	// The outbox holds every push, and the pool sends no pings: the test is not about slow peers.
	_, conns, stream := started(t, gcpool.WithNewline(false), gcpool.WithOutbox(16<<20), gcpool.WithHeartbeat(0))
	wrote := make(chan error, 1)
	addr := serve(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		conns.Add("a", ws)
		defer conns.Del("a")
		go func() {
			data := bytes.Repeat([]byte("application "), big/12)
			var err error
			for i := 0; i < rounds && err == nil; i++ {
				_, err = ws.Write(data)
			}
			wrote <- err
		}()
		io.Copy(io.Discard, ws)
	}))
	ws := dial(t, addr, "")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	go func() {
		for i := range pushes {
			stream.Add("a", fmt.Appendf(nil, "%8d%s", i, strings.Repeat(".", i%3000)))
		}
	}()
	go func() {
		ping := websocket.Codec{Marshal: func(v any) ([]byte, byte, error) { return v.([]byte), 9, nil }}
		for i := range pushes {
			if ping.Send(ws, fmt.Appendf(nil, "%8d", i)) != nil {
				return
			}
		}
	}()
	var pushed, pongs, large int
	for pushed < pushes || pongs < pushes || large < rounds {
		op, text := nextFrame(t, ws)
		switch {
		case op == 1 && text == fmt.Sprintf("%8d%s", pushed, strings.Repeat(".", pushed%3000)):
			pushed++
		case op == 10 && text >= fmt.Sprintf("%8d", pongs): // one pong may answer several pings (RFC 6455 section 5.5.3)
			fmt.Sscan(text, &pongs)
			pongs++
		case op == 1 && text == strings.Repeat("application ", big/12):
			large++
		default:
			t.Fatalf("after %d pushes, %d pongs, %d writes: frame %d, %.40q", pushed, pongs, large, op, text)
		}
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// nextFrame reads one frame and returns its opcode and payload.
func nextFrame(t *testing.T, ws *websocket.Conn) (op byte, payload string) {
	t.Helper()
	f, err := ws.NewFrameReader()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, f.HeaderReader()); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return f.PayloadType(), string(text)
}

// TestFramesOfTwoPoolsNeverMix: one WebSocket is in two pools and its peer does not
// read, so one pool has to stop in the middle of a frame.
func TestFramesOfTwoPoolsNeverMix(t *testing.T) {
	for _, procs := range []int{1, 2} {
		t.Run(fmt.Sprint("procs=", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			p := gcpool.NewPool(gcpool.WithNewline(false), gcpool.WithOutbox(64<<20))
			p.Register("one")
			p.Register("two")
			p.Start()
			t.Cleanup(func() { shutdown(p, time.Second) })
			ws := dial(t, serve(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
				p.GetConn("one").Add("a", ws)
				p.GetConn("two").Add("a", ws)
				io.Copy(io.Discard, ws)
			})), "")
			eventually(t, "joined", func() bool { return p.GetConn("two").Len() == 1 })
			message := func(pool string, i int) string {
				return fmt.Sprintf("%s %6d%s", pool, i, strings.Repeat(pool[:1], 60_000))
			}
			pushes := 0
			for full := 0; full < 5; pushes++ {
				rest()
				add(t, p.GetStream("one"), "a", message("one", pushes))
				add(t, p.GetStream("two"), "a", message("two", pushes))
				if int(p.Stats()[0].Written) <= pushes {
					full++
				}
			}
			next := map[string]int{}
			for range 2 * pushes {
				var got string
				if err := websocket.Message.Receive(ws, &got); err != nil {
					t.Fatalf("after %v of %d: %v", next, pushes, err)
				}
				pool := got[:min(3, len(got))]
				if got != message(pool, next[pool]) {
					t.Fatalf("after %v of %d came %.40q, %d bytes", next, pushes, got, len(got))
				}
				next[pool]++
			}
		})
	}
}
