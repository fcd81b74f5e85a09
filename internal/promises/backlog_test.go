package promises

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestBacklogOfBeforeStart: messages added before Start may add up to more than an outbox. A
// peer that reads gets all of them, and messages added after Start wait behind them for room.
func TestBacklogOfBeforeStart(t *testing.T) {
	for _, overflow := range []gcpool.Overflow{gcpool.Disconnect, gcpool.DropOldest, gcpool.DropNewest} {
		synctest.Test(t, func(t *testing.T) {
			const before, after = 500, 50
			p, conns, stream := idle(t, gcpool.WithOutbox(1000), gcpool.WithOverflow(overflow))
			peer := peerOf(t, conns, "a")
			var want []string
			for i := range before + after {
				want = append(want, fmt.Sprintf("%d %s", i, strings.Repeat("x", 900)))
			}
			for _, data := range want[:before] {
				add(t, stream, "a", data)
			}
			p.Start()
			go func() {
				for _, data := range want[before:] {
					stream.Add("a", []byte(data))
				}
			}()
			for i := range want {
				if i%10 == 0 {
					time.Sleep(100 * time.Millisecond) // the peer reads slowly
				}
				if got := lines(t, peer, 1)[0]; got != want[i] {
					t.Fatalf("line %d: %.20q", i, got)
				}
			}
		})
	}
}

// TestNothingIsWrittenBeforeStart: before Start no message and no ping is written. The
// heartbeat begins with Start.
func TestNothingIsWrittenBeforeStart(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		synctest.Test(t, func(t *testing.T) {
			p, conns, stream := idle(t, gcpool.WithHeartbeat(8*time.Second))
			conn, ws := serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
				conns.Add("a", ws)
				io.Copy(io.Discard, ws)
			}))("")
			defer ws.Close()
			time.Sleep(10 * time.Minute)
			if stream.Len() != 0 {
				t.Errorf("%d ids wait in the stream, although nothing was added", stream.Len())
			}
			add(t, stream, "a", "x")
			time.Sleep(10 * time.Minute)
			conn.SetReadDeadline(time.Now())
			if n, err := conn.Read(make([]byte, 1)); n > 0 || errors.Is(err, io.EOF) {
				t.Fatalf("read %d bytes before Start: %v", n, err)
			}
			conn.SetReadDeadline(time.Time{})
			in, start := bufio.NewReader(conn), time.Now()
			p.Start()
			if op, data, err := frame(in); op != 0x81 || data != "x\n" || time.Since(start) > 0 {
				t.Errorf("first came %#x %q, %v, after %v", op, data, err, time.Since(start))
			}
			if op, _, err := frame(in); op != 0x89 || time.Since(start) < 7*time.Second {
				t.Errorf("then came %#x, %v, after %v", op, err, time.Since(start))
			}
		})
	})
}

// TestAddRacesWithStart: Adds race with Start. No message is lost and each producer's
// order is kept, for ids that are connected and for ids that are not.
func TestAddRacesWithStart(t *testing.T) {
	for range 20 {
		const producers, each = 100, 20
		p, conns, stream := idle(t, gcpool.WithBuffer(producers*each/2), gcpool.WithMailbox(time.Hour, 1<<20), gcpool.WithOutbox(1<<10))
		here := bufio.NewReader(tcp(t, conns, "here"))
		var adding sync.WaitGroup
		for n := range producers {
			adding.Go(func() {
				for i := range each {
					for _, id := range []string{"here", "away"} {
						if err := stream.Add(id, fmt.Appendf(nil, "%d %d", n, i)); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		eventually(t, "in the middle", func() bool { return p.Stats()[0].Waiting > producers*each/4 })
		p.Start()
		inOrder(t, lines(t, here, producers*each), producers)
		adding.Wait()
		ours, peer := net.Pipe()
		defer peer.Close()
		conns.Add("away", ours)
		inOrder(t, lines(t, bufio.NewReader(peer), producers*each), producers)
		shutdown(p, time.Second)
		settled(t, p)
	}
}

// TestStartIsNotHeldUpByAFullOutbox: messages that were added before Start do not wait
// for room again, so one full outbox does not hold up the rest.
func TestStartIsNotHeldUpByAFullOutbox(t *testing.T) {
	for _, overflow := range []gcpool.Overflow{gcpool.Disconnect, gcpool.DropOldest, gcpool.DropNewest} {
		synctest.Test(t, func(t *testing.T) {
			p := gcpool.NewPool(gcpool.WithOutbox(100), gcpool.WithOverflow(overflow))
			p.Register(name)
			conns, stream := p.GetConn(name), p.GetStream(name)
			slow := pipe(t, conns, "slow")
			var want []string
			for i := range 10 {
				want = append(want, fmt.Sprintf("%060d", i))
				add(t, stream, "slow", want[i])
			}
			startsAtOnce(t, p)
			equal(t, "slow", lines(t, bufio.NewReader(slow), 10), want)
			shutdown(p, time.Second)
		})
	}
}

// startsAtOnce adds a message for another id, starts p, and checks that the message arrives at
// once. With one processor there is one writer at first, so the message may arrive only when
// the pool has noticed that the writer is stuck.
func startsAtOnce(t *testing.T, p *gcpool.Pool) {
	t.Helper()
	peer := bufio.NewReader(pipe(t, p.GetConn(name), "quick"))
	add(t, p.GetStream(name), "quick", "hello")
	start := time.Now()
	p.Start()
	equal(t, "quick", lines(t, peer, 1), []string{"hello"})
	within(t, "it came", start, 0, watch)
}

// TestStartIsNotHeldUpByASlowCluster: a slow cluster does not hold up Start either.
func TestStartIsNotHeldUpByASlowCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := gcpool.NewPool(gcpool.WithOutbox(100))
		p.Register(name)
		stream := p.GetStream(name)
		s := stuck{make(chan struct{})}
		p.SetCluster(s)
		for i := range 10 {
			add(t, stream, "far", fmt.Sprintf("%060d", i))
		}
		startsAtOnce(t, p)
		close(s.free)
		shutdown(p, time.Second)
	})
}
