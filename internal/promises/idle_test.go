package promises

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
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

// TestIdlePoolForgetsNobody pushes to several ids with pauses, so that an Add
// which writes by itself meets others on the same id and on others, and one to a
// peer that has stopped reading: no Add may end up serving that one.
func TestIdlePoolForgetsNobody(t *testing.T) {
	for _, procs := range []int{1, 2} {
		t.Run(fmt.Sprint("procs=", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			const ids, messages = 4, 600
			p, conns, stream := started(t, gcpool.WithOverflow(gcpool.DropNewest), gcpool.WithWriteTimeout(time.Minute))
			addr := serve(t, gcpool.Upgrade, verbatim(p, func() {}))
			tcp(t, conns, "stalled")
			push := func(id string, data []byte) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if err := stream.AddContext(ctx, id, data); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
			var wg sync.WaitGroup
			for i := range ids {
				id := fmt.Sprint("peer", i)
				peer := dial(t, addr, "id="+id)
				wg.Go(func() { lines(t, bufio.NewReader(peer), 2*messages) })
			}
			eventually(t, "joined", func() bool { return conns.Len() == ids+1 })
			for range 2 { // of each id's producers
				for i := range ids {
					wg.Go(func() {
						for range messages {
							time.Sleep(time.Duration(rand.N(300)) * time.Microsecond)
							push(fmt.Sprint("peer", i), []byte("x"))
						}
					})
				}
			}
			wg.Go(func() {
				for range messages {
					time.Sleep(100 * time.Microsecond)
					push("stalled", bytes.Repeat([]byte{'x'}, 32<<10))
				}
			})
			wg.Wait()
		})
	}
}
