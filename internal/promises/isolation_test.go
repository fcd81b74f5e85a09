package promises

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/internal/nettest"
)

// tcp connects id to the pool over loopback TCP and returns the peer's end.
func tcp(t *testing.T, conns *gcpool.ConnPool, id string) net.Conn {
	t.Helper()
	ours, peer := nettest.TCP(t)
	if err := conns.Add(id, ours); err != nil {
		t.Fatal(err)
	}
	return peer
}

func TestStalledPeersDelayNobody(t *testing.T) {
	const peers, messages, size = 60, 1000, 4 << 10
	for _, kind := range []string{"tcp", "websocket", "upgraded"} {
		t.Run(kind, func(t *testing.T) {
			// The outboxes hold everything and the timeout is long:
			// the test is not about slow peers.
			p, conns, stream := started(t, gcpool.WithOutbox(messages*size), gcpool.WithWriteTimeout(time.Minute))
			addr := serve(t, map[string]wrapper{"upgraded": gcpool.Upgrade}[kind], verbatim(p, func() {}))
			readers := make(map[string]io.Reader)
			for i := range peers {
				id := fmt.Sprint("peer", i)
				if kind == "tcp" {
					readers[id] = tcp(t, conns, id)
				} else {
					readers[id] = dial(t, addr, "id="+id)
				}
				if i < 20 { // never reads
					delete(readers, id)
				}
			}
			eventually(t, "joined", func() bool { return conns.Len() == peers })
			start := time.Now()
			var wg sync.WaitGroup
			for id, r := range readers {
				wg.Go(func() { receive(t, id, r, messages, size) })
			}
			for i := range peers {
				go func() {
					data := bytes.Repeat([]byte{'x'}, size-1)
					for n := range messages {
						binary.BigEndian.PutUint32(data, uint32(n))
						if stream.Add(fmt.Sprint("peer", i), data) != nil {
							return
						}
					}
				}()
			}
			wg.Wait()
			t.Logf("%d peers received %d MiB in %v", len(readers), len(readers)*messages*size>>20, time.Since(start))
			shutdown(p, 500*time.Millisecond) // some stalled peers still have data waiting
			settled(t, p)
		})
	}
}

// receive reads messages of size bytes and checks their order.
func receive(t *testing.T, id string, r io.Reader, messages, size int) {
	buf := make([]byte, size)
	for n := range messages {
		if _, err := io.ReadFull(r, buf); err != nil {
			t.Errorf("%s after %d messages: %v", id, n, err)
			return
		}
		if got := binary.BigEndian.Uint32(buf); got != uint32(n) || buf[size-1] != '\n' {
			t.Errorf("%s received message %d, want %d", id, got, n)
			return
		}
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	before := goroutines(nil) // goroutines of earlier tests may end in the meantime
	p, conns, stream := started(t, gcpool.WithUndelivered(func(gcpool.Undelivered) {}), gcpool.WithMailbox(time.Hour, 1<<20))
	for i := range 20 {
		tcp(t, conns, fmt.Sprint(i)) // reads nothing
	}
	eventually(t, "no goroutine for 20 idle connections", func() bool { return len(goroutines(before)) == 0 })
	for i := range 2000 {
		add(t, stream, fmt.Sprint(i%30), strings.Repeat("x", 3000))
	}
	shutdown(p, 100*time.Millisecond) // the hook may go on after that, if it is behind
	eventually(t, "all goroutines have ended", func() bool { return len(goroutines(before)) == 0 })
	settled(t, p)
}

// goroutines returns the numbers of the goroutines that have gcpool
// in their stack and are not in others.
func goroutines(others map[string]bool) map[string]bool {
	buf, all := make([]byte, 4<<20), make(map[string]bool)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		number, _, _ := strings.Cut(strings.TrimPrefix(g, "goroutine "), " ")
		if (strings.Contains(g, "gcpool.(") || strings.Contains(g, "gcpool/internal/")) && !others[number] {
			all[number] = true
		}
	}
	return all
}

func TestDeliveryGoesOnUnderTheWatchOfAStalledMajority(t *testing.T) {
	_, conns, stream := started(t, gcpool.WithOverflow(gcpool.DropNewest), gcpool.WithWriteTimeout(time.Hour))
	for i := range 100 {
		tcp(t, conns, fmt.Sprint("stalled", i))
	}
	in := tcp(t, conns, "reading")
	big := bytes.Repeat([]byte{'x'}, 1<<20)
	for range 8 {
		for i := range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			stream.AddContext(ctx, fmt.Sprint("stalled", i), big)
			cancel()
		}
	}
	go io.Copy(io.Discard, in)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 200 {
		if err := stream.Deliver(ctx, "reading", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManyPeersThatStallAtOnceDelayNobody: peers that stop reading at the same moment
// delay no other peer, however many they are.
func TestManyPeersThatStallAtOnceDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		for i := range 400 {
			pipe(t, conns, fmt.Sprint("stalled", i))
		}
		in := bufio.NewReader(pipe(t, conns, "reads"))
		for i := range 400 {
			add(t, stream, fmt.Sprint("stalled", i), "x")
		}
		start := time.Now()
		add(t, stream, "reads", "hi")
		lines(t, in, 1)
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("the peer that reads waited %v for those that do not", d)
		}
		shutdown(p, 10*time.Millisecond)
	})
}

// TestNetworkThatGoesAwayDelaysNobody: over TCP, 400 peers stop reading while messages keep
// going to each of them. The one peer that still reads must not be delayed.
func TestNetworkThatGoesAwayDelaysNobody(t *testing.T) {
	undisturbed(t, func() error {
		if worst := besideAGoneNetwork(t); worst > time.Second { // it would be 2 s if each held up the others for a tick
			return fmt.Errorf("the peer that reads waited up to %v", worst)
		}
		return nil
	})
}

// besideAGoneNetwork returns the longest time that the one peer that reads had to wait.
func besideAGoneNetwork(t *testing.T) (worst time.Duration) {
	const gone = 400
	p, conns, stream := started(t, gcpool.WithWriteTimeout(time.Minute), gcpool.WithOverflow(gcpool.DropNewest))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var in net.Conn
	for i := range gone + 1 {
		peer, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		ours, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if in = peer; i < gone {
			peer.(*net.TCPConn).SetReadBuffer(4 << 10)
			ours.(*net.TCPConn).SetWriteBuffer(4 << 10)
		}
		conns.Add(fmt.Sprint(i), ours)
	}
	go io.Copy(io.Discard, in)
	for range 20 {
		for i := range gone {
			add(t, stream, fmt.Sprint(i), string(make([]byte, 16<<10)))
		}
		start := time.Now()
		if err := stream.Deliver(t.Context(), fmt.Sprint(gone), []byte("x")); err != nil {
			t.Fatal(err)
		}
		if worst = max(worst, time.Since(start)); worst > 10*time.Second {
			break
		}
	}
	t.Logf("%d stalled; the peer that reads waited up to %v", p.Stats()[0].Stalled, worst)
	shutdown(p, 10*time.Millisecond)
	return worst
}

// napping is a connection of the application's own type whose Write sleeps, as a rate limiter does.
type napping struct{ net.Conn }

func (n napping) Write(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return len(p), nil
}

// TestManyShortWritesDelayNobody: many messages take long if each is a Write of its own, even
// though no single Write does. Other ids must not wait for them.
func TestManyShortWritesDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t)
		for i := range 2 * runtime.GOMAXPROCS(0) {
			ours, peer := net.Pipe()
			defer peer.Close()
			id := fmt.Sprint("napping", i)
			if err := conns.Add(id, napping{ours}); err != nil {
				t.Fatal(err)
			}
			for range 500 {
				add(t, stream, id, "x")
			}
		}
		peer := pipe(t, conns, "alice")
		go io.Copy(io.Discard, peer)
		time.Sleep(10 * time.Millisecond)
		for range 5 {
			start := time.Now()
			if err := stream.Deliver(t.Context(), "alice", []byte("x")); err != nil || time.Since(start) > 50*time.Millisecond {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		}
	})
}
