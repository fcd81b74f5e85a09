package promises

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestFramesOfTwoPoolsNeverMix has one WebSocket in two pools, whose peer does not
// read, so that one of them has to stop in the middle of a frame.
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

// TestLivePeerUnderTwoIds answers pings, so neither id may take it for silent.
func TestLivePeerUnderTwoIds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, _ := started(t, gcpool.WithHeartbeat(15*time.Second))
		connect := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("alice", ws)
			conns.Add("group", ws)
			io.Copy(io.Discard, ws)
		}))
		_, ws := connect("")
		go io.Copy(io.Discard, ws)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := conns.Len(); n != 2 {
			t.Errorf("%d of 2 ids are connected", n)
		}
		ws.Close()
	})
}
