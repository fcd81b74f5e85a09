package promises

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// rest is long enough for Add to find the pool idle.
func rest() { time.Sleep(time.Millisecond) }

func TestIdlePoolHasWrittenWhenAddReturns(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("sockets cannot be written to without waiting")
	}
	p, conns, stream := started(t)
	ws := dial(t, serve(t, gcpool.Upgrade, verbatim(p, func() {})), "id=a")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	for i := range 20 {
		rest()
		add(t, stream, "a", "x")
		if got := p.Stats()[0].Written; got != uint64(i+1) {
			t.Fatalf("%d written after %d Adds", got, i+1)
		}
		if _, err := io.ReadFull(ws, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIdlePoolLeavesAFullSocketToAWriter pushes to a peer that does not read, with
// pauses, until its socket is full in the middle of a frame. No Add may wait then,
// and neither the pool's nor the application's next frame may land inside it.
func TestIdlePoolLeavesAFullSocketToAWriter(t *testing.T) {
	const size = 60_000
	p, conns, stream := started(t, gcpool.WithNewline(false), gcpool.WithOutbox(64<<20))
	var server *websocket.Conn
	addr := serve(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		server = ws
		conns.Add("a", ws)
		io.Copy(io.Discard, ws)
	}))
	ws := dial(t, addr, "")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	message := func(i int) string { return fmt.Sprintf("%6d%s", i, strings.Repeat(".", size)) }
	pushes := 0
	for full := 0; full < 20; pushes++ { // 20 more than the socket takes
		rest()
		before := time.Now()
		add(t, stream, "a", message(pushes))
		if time.Since(before) > 10*time.Second {
			t.Fatal("Add has waited for a peer")
		}
		if int(p.Stats()[0].Written) <= pushes {
			full++
		}
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := server.Write([]byte("application"))
		wrote <- err
	}()
	for next, application := 0, false; next < pushes || !application; {
		var got string
		if err := websocket.Message.Receive(ws, &got); err != nil {
			t.Fatalf("after %d pushes: %v", next, err)
		}
		if got == "application" && !application {
			application = true
		} else if got == message(next) {
			next++
		} else {
			t.Fatalf("after %d pushes came %.40q, %d bytes", next, got, len(got))
		}
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}
