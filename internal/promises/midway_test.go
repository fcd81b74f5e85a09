package promises

import (
	"errors"
	"fmt"
	"io"
	"maps"
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

// midway is a pool whose last Add has left the rest of a frame to a writer, for the
// peer has not read anything.
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

// meanwhile is what may happen to the connection then.
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

// receive reads what comes until the connection ends or has nothing more, and
// checks that each frame is whole, and none came before. It returns how many did.
func (m *midway) receive(t *testing.T, ws *websocket.Conn, next int) (n int) {
	t.Helper()
	for ; ; n++ {
		ws.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		var got string
		if websocket.Message.Receive(ws, &got) != nil || len(got) < 60_000 { // x/net takes the end of a stream for that of a frame
			return n
		}
		var i int
		if _, err := fmt.Sscan(got[:6], &i); err != nil || i < next || got != m.message(i) {
			t.Fatalf("after %d came %.20q, %d bytes", next-1, got, len(got))
		}
		if next = i + 1; n == 0 && m.second != nil && ws == m.peer { // the writer may go on only then
			eventually(t, "taken over", func() bool { return m.pool.Stats()[0].Takeovers == 1 })
		}
	}
}

func TestAnythingAfterAWriteThatAddBegan(t *testing.T) {
	for _, procs := range []int{1, 2} {
		for _, what := range slices.Sorted(maps.Keys(meanwhile)) {
			for of, opts := range map[string][]gcpool.Option{"": nil, ", mailbox": {gcpool.WithMailbox(50*time.Millisecond, 8<<20)}} {
				t.Run(fmt.Sprintf("%s, procs=%d%s", what, procs, of), func(t *testing.T) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
					m := newMidway(t, opts...)
					meanwhile[what](t, m)
					m.push(m.message(m.pushed)) // it waits behind, if it still can
					received := m.receive(t, m.peer, 0)
					if m.second != nil {
						received += m.receive(t, m.second, received)
					}
					m.conns.Del("a")
					m.conns.Del("a")
					eventually(t, "settled", func() bool { return m.pool.Stats()[0].Waiting == 0 })
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
