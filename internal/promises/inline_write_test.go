package promises

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// rest sleeps long enough for the next Add to find the pool idle.
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

// TestIdlePoolLeavesAFullSocketToAWriter pushes to a peer that does not read, with pauses,
// until its socket is full in the middle of a frame. From then on no Add may wait, and neither
// the pool's next frame nor the application's may land inside that frame.
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
	for full := 0; full < 20; pushes++ { // 20 more than the socket can take
		rest()
		before := time.Now()
		add(t, stream, "a", message(pushes))
		if time.Since(before) > 10*time.Second {
			t.Fatal("Add waited for the peer to read")
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

// TestIdlePoolForgetsNobody pushes to several ids with pauses, so that Adds that write inline
// meet other Adds, for the same id and for other ids. One peer has stopped reading, and no Add
// may get stuck writing to it.
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
			for range 2 { // two producers for each id
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

// midway is a pool whose peer has read nothing. Its last Add wrote
// part of a frame, and left the rest to a writer.
type midway struct {
	reports
	pool         *gcpool.Pool
	conns        *gcpool.ConnPool
	stream       *gcpool.StreamPool
	addr         string
	server       *websocket.Conn
	peer, second *websocket.Conn // second is nil unless it takes over
	pushed       int
}

// meanwhile lists the events that may hit the connection in that state.
var meanwhile = map[string]func(*testing.T, *midway){
	"nothing":  func(*testing.T, *midway) {},
	"takeover": func(t *testing.T, m *midway) { m.second = dial(t, m.addr, "") },
	"del":      func(_ *testing.T, m *midway) { m.conns.Del("a") },
	"get": func(_ *testing.T, m *midway) {
		m.conns.Get("a", func(net.Conn) error { return errors.New("no") })
	},
	"the peer leaves":         func(_ *testing.T, m *midway) { m.peer.Close() },
	"the application closes":  func(_ *testing.T, m *midway) { go m.server.Close() },
	"a deadline":              func(_ *testing.T, m *midway) { m.server.SetWriteDeadline(time.Unix(1, 0)) },
	"shutdown":                func(_ *testing.T, m *midway) { go shutdown(m.pool, 100*time.Millisecond) },
	"the outbox is full soon": func(_ *testing.T, m *midway) { m.push(string(make([]byte, 4<<20-1))) },
}

func (m *midway) push(text string) {
	if m.stream.Add("a", []byte(text)) == nil {
		m.pushed++
	}
}

func (m *midway) message(i int) string { return fmt.Sprintf("%6d%s", i, strings.Repeat(".", 60_000)) }

func newMidway(t *testing.T, opts ...gcpool.Option) *midway {
	m := new(midway)
	opts = append(opts, gcpool.WithNewline(false), gcpool.WithUndelivered(m.hook), gcpool.WithOutbox(4<<20))
	m.pool, m.conns, m.stream = started(t, opts...)
	m.addr = serve(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		if m.server == nil {
			m.server = ws
		}
		m.conns.Add("a", ws)
		defer m.conns.Del("a")
		io.Copy(io.Discard, ws)
	}))
	m.peer = dial(t, m.addr, "")
	eventually(t, "joined", func() bool { return m.conns.Len() == 1 })
	for int(m.pool.Stats()[0].Written) == m.pushed {
		rest()
		m.push(m.message(m.pushed))
	}
	return m
}

// receive reads until the connection ends or has nothing more. It checks that each frame is
// whole and new, and returns the number of frames.
func (m *midway) receive(t *testing.T, ws *websocket.Conn, next int) (n int) {
	t.Helper()
	for ; ; n++ {
		ws.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		var got string
		if websocket.Message.Receive(ws, &got) != nil || len(got) < 60_000 { // x/net takes the end of the stream as the end of a frame
			return n
		}
		var i int
		if _, err := fmt.Sscan(got[:6], &i); err != nil || i < next || got != m.message(i) {
			t.Fatalf("after %d came %.20q, %d bytes", next-1, got, len(got))
		}
		if next = i + 1; n == 0 && m.second != nil && ws == m.peer { // the writer may continue only after the takeover
			eventually(t, "taken over", func() bool { return m.pool.Stats()[0].Takeovers == 1 })
		}
	}
}

// TestAnythingAfterAWriteThatAddBegan: whatever happens after an Add has written part of a
// frame, the peer receives only whole frames, in order, and each message has one outcome.
func TestAnythingAfterAWriteThatAddBegan(t *testing.T) {
	for _, procs := range []int{1, 2} {
		for _, what := range slices.Sorted(maps.Keys(meanwhile)) {
			for of, opts := range map[string][]gcpool.Option{"": nil, ", mailbox": {gcpool.WithMailbox(50*time.Millisecond, 8<<20)}} {
				t.Run(fmt.Sprintf("%s, procs=%d%s", what, procs, of), func(t *testing.T) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
					m := newMidway(t, opts...)
					meanwhile[what](t, m)
					m.push(m.message(m.pushed)) // if accepted, it waits behind the frame
					received := m.receive(t, m.peer, 0)
					if m.second != nil {
						received += m.receive(t, m.second, received)
					}
					m.conns.Del("a")
					m.conns.Del("a")
					m.await(t, m.pool)
					s := settled(t, m.pool)
					m.mu.Lock()
					defer m.mu.Unlock()
					if int(s.Accepted) != m.pushed || len(m.all) != int(s.Undelivered) || received > int(s.Written) {
						t.Errorf("%d accepted, %d reported, %d received: %+v", m.pushed, len(m.all), received, s)
					}
				})
			}
		}
	}
}

// TestShutdownDuringAddsThatWrite: Shutdown comes while Adds write inline and the peer leaves.
// Each message still has exactly one outcome.
func TestShutdownDuringAddsThatWrite(t *testing.T) {
	for i := range 60 {
		p, conns, stream := started(t)
		ws := dial(t, serve(t, gcpool.Upgrade, verbatim(p, func() {})), "id=a")
		eventually(t, "joined", func() bool { return conns.Len() == 1 })
		go io.Copy(io.Discard, ws)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for stream.Add("a", []byte("x")) == nil {
					time.Sleep(150 * time.Microsecond)
				}
			})
		}
		time.Sleep(time.Duration(i%7) * time.Millisecond)
		go func() {
			time.Sleep(time.Millisecond)
			ws.Close()
		}()
		if err := shutdown(p, 20*time.Second); err != nil {
			t.Error(err)
		}
		settled(t, p)
		wg.Wait()
		settled(t, p)
	}
}
