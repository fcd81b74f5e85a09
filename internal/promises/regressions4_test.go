package promises

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestSaturationDoesNotKeepThePingAway: nor does an outbox that is never empty.
func TestSaturationDoesNotKeepThePingAway(t *testing.T) {
	_, c, s := started(t, gcpool.WithHeartbeat(time.Second))
	addr := serve(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		c.Add("a", ws)
		defer c.Del("a")
		io.Copy(io.Discard, ws)
	}))
	ws := dial(t, addr, "")
	go io.Copy(io.Discard, ws) // reads, answers pings, has nothing to say
	eventually(t, "joined", func() bool { return c.Len() == 1 })
	data := make([]byte, 1000)
	for start := time.Now(); time.Since(start) < 6*time.Second; {
		s.Add("a", data)
		if c.Len() != 1 {
			t.Fatalf("a live, reading peer was thrown out after %v", time.Since(start))
		}
	}
}

// TestBroadcastComesBackToFullOutboxes: a slow one keeps no other waiting, also
// if both were full at first.
func TestBroadcastComesBackToFullOutboxes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, s := started(t, gcpool.WithOutbox(1000))
		slow, fast := pipe(t, c, "slow"), pipe(t, c, "fast")
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			for buf := make([]byte, 50); ; time.Sleep(900 * time.Millisecond) {
				if _, err := io.ReadFull(slow, buf); err != nil {
					return
				}
			}
		}()
		for range 20 {
			add(t, s, "slow", strings.Repeat("x", 49))
			add(t, s, "fast", strings.Repeat("x", 49))
		}
		done := make(chan error, 1)
		go func() { done <- s.Broadcast(make([]byte, 50)) }()
		synctest.Wait()
		start, r := time.Now(), bufio.NewReader(fast)
		lines(t, r, 21)
		within(t, "the fast peer was served", start, 0, time.Second)
		if err := <-done; err != nil {
			t.Error(err)
		}
		slow.Close()
		<-gone
	})
}
