package promises

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestEachEndHasItsCloseFrame: each way to end a WebSocket has its
// own status and sends exactly one close frame.
func TestEachEndHasItsCloseFrame(t *testing.T) {
	for _, test := range []struct {
		what   string
		end    func(p *gcpool.Pool, conns *gcpool.ConnPool, conn net.Conn)
		status int
	}{
		{"Del", func(_ *gcpool.Pool, conns *gcpool.ConnPool, _ net.Conn) { conns.Del("a") }, 1000},
		{"DelConn", func(_ *gcpool.Pool, conns *gcpool.ConnPool, conn net.Conn) { conns.DelConn("a", conn) }, 1000},
		{"Get", func(_ *gcpool.Pool, conns *gcpool.ConnPool, _ net.Conn) {
			conns.Get("a", func(net.Conn) error { return errors.New("away with it") })
		}, 1000},
		{"Evict", func(_ *gcpool.Pool, conns *gcpool.ConnPool, conn net.Conn) { local(conns).Evict(name, "a", conn) }, 4500},
		{"takeover", func(_ *gcpool.Pool, conns *gcpool.ConnPool, _ net.Conn) {
			ours, _ := net.Pipe()
			conns.Add("a", ours)
		}, 4500},
		{"Shutdown", func(p *gcpool.Pool, _ *gcpool.ConnPool, _ net.Conn) { shutdown(p, time.Minute) }, 1001},
		{"Del during Shutdown", func(p *gcpool.Pool, conns *gcpool.ConnPool, _ net.Conn) {
			go shutdown(p, time.Minute)
			time.Sleep(time.Second)
			conns.Del("a")
		}, 1001},
		{"silence", func(*gcpool.Pool, *gcpool.ConnPool, net.Conn) {}, 1001},
	} {
		t.Run(test.what, func(t *testing.T) {
			both(t, func(t *testing.T, wrap wrapper) {
				if test.what == "silence" && wrap == nil {
					t.Skip("the pool cannot hear the peer without Upgrade")
				}
				synctest.Test(t, func(t *testing.T) {
					p, conns, _ := started(t)
					added := make(chan net.Conn, 1)
					raw, _ := serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
						conns.Add("a", ws)
						added <- ws
						io.Copy(io.Discard, ws)
					}))("")
					conn := <-added
					go test.end(p, conns, conn)
					equal(t, "close frames", closings(raw), []string{fmt.Sprint(test.status)})
				})
			})
		})
	}
}

// TestWhoLeavesDuringShutdownIsToldToComeBack: a handler ends during
// Shutdown, before the goodbye, because messages still wait for its
// peer. Status 1000 would keep the user away from the next process.
func TestWhoLeavesDuringShutdownIsToldToComeBack(t *testing.T) {
	for what, leave := range map[string]func(conns *gcpool.ConnPool, ws *websocket.Conn){
		"Del":     func(conns *gcpool.ConnPool, _ *websocket.Conn) { conns.Del("a") },
		"DelConn": func(conns *gcpool.ConnPool, ws *websocket.Conn) { conns.DelConn("a", ws) },
		"return":  func(*gcpool.ConnPool, *websocket.Conn) {},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, conns, stream := started(t)
				added, ends := make(chan bool), make(chan bool)
				raw, _ := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
					conns.Add("a", ws)
					added <- true
					<-ends
					leave(conns, ws)
				}))("")
				<-added
				for range 3 {
					add(t, stream, "a", string(make([]byte, 100_000)))
				}
				go shutdown(p, time.Minute)
				time.Sleep(time.Second)
				ends <- true
				synctest.Wait()
				equal(t, "close frames", closings(raw), []string{"1001"})
			})
		})
	}
}

// TestWhoLeavesASlowPeerDuringShutdown: the same over TCP, during a write to the peer.
func TestWhoLeavesASlowPeerDuringShutdown(t *testing.T) {
	undisturbed(t, func() error {
		p, conns, stream := started(t)
		ends := make(chan bool)
		url := serve(t, gcpool.Upgrade, library(t, func(r *http.Request, _ net.Conn) {
			conns.Add("a", gcpool.Conn(r))
			<-ends
			conns.Del("a")
		}))
		_, r := handshake(t, url, "", 4<<10)
		eventually(t, "connected", func() bool { return conns.Connected("a") == 1 })
		add(t, stream, "a", string(make([]byte, 900<<10)))
		eventually(t, "stalled", func() bool { return !conns.Info("a").Stalled.IsZero() })
		go shutdown(p, time.Minute)
		eventually(t, "closed", func() bool { return stream.Add("b", nil) == gcpool.ErrClosed })
		ends <- true
		for {
			op, payload, err := frame(r)
			if err != nil || op == 0x88 {
				if err == nil && payload != "\x03\xe9" {
					t.Errorf("close frame %q", payload)
				}
				return err
			}
		}
	})
}

// closings returns the statuses of all close frames up to the end of the stream. It answers none.
func closings(raw net.Conn) (statuses []string) {
	for in := bufio.NewReader(raw); ; {
		op, payload, err := frame(in)
		if err != nil {
			return statuses
		}
		if op == 0x88 {
			statuses = append(statuses, fmt.Sprint(int(payload[0])<<8|int(payload[1])))
		}
	}
}

// TestWhoComesDuringShutdownIsToldToComeBack: Add refuses a connection during Shutdown, but the
// peer still gets a close frame with status 1001, which tells it to come back.
func TestWhoComesDuringShutdownIsToldToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, _ := started(t)
		shutdown(p, time.Second)
		raw, _ := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			if err := conns.Add("a", ws); err != gcpool.ErrClosed {
				t.Errorf("Add: %v", err)
			}
		}))("")
		equal(t, "close frames", closings(raw), []string{"1001"})
	})
}

// TestWhoWaitsForTheHooksDuringShutdownIsToldToComeBack: the pool
// closes while Add waits for a slow hook.
func TestWhoWaitsForTheHooksDuringShutdownIsToldToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := make(chan bool)
		p, conns, _ := started(t, gcpool.WithBuffer(1), gcpool.WithPresence(func(_, _ string, _ bool) { <-busy }))
		for i := range 3 { // one in the hook, and more than WithBuffer waiting for it
			pipe(t, conns, fmt.Sprint(i))
		}
		raw, _ := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			if err := conns.Add("a", ws); err != gcpool.ErrClosed {
				t.Errorf("Add: %v", err)
			}
		}))("")
		go shutdown(p, time.Second)
		equal(t, "close frames", closings(raw), []string{"1001"})
		close(busy)
	})
}

// TestLastWordsAreRead: a peer sends its last messages and leaves, and a push notices that
// before the handler has read them. The handler must still get them all.
func TestLastWordsAreRead(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) { undisturbed(t, func() error { return lastWords(t, wrap) }) })
}

func lastWords(t *testing.T, wrap wrapper) error {
	_, conns, stream := started(t)
	added, reads, read := make(chan bool), make(chan bool), make(chan int)
	addr := serve(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
		conns.Add("a", ws)
		close(added)
		<-reads
		n := 0
		for message := ""; websocket.Message.Receive(ws, &message) == nil; {
			n++
		}
		read <- n
	}))
	peer, _ := handshake(t, addr, "", 0)
	<-added
	stream.Deliver(t.Context(), "a", []byte("unread, so the peer's close resets the connection"))
	const words = 50
	peer.Write(bytes.Repeat([]byte("\x81\x85\x00\x00\x00\x00hello"), words))
	peer.Close()
	eventually(t, "a push fails", func() bool { return stream.Deliver(t.Context(), "a", []byte("x")) != nil })
	close(reads)
	if n := <-read; n != words {
		return fmt.Errorf("the handler has read %d of %d messages", n, words)
	}
	return nil
}
