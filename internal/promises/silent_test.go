package promises

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestWhoAcknowledgesIsNotSilent: a message spends more than two heartbeats in the outbox or in
// the operating system's buffers, so the peer cannot answer a ping. It acknowledges data, and
// so must not count as silent.
func TestWhoAcknowledgesIsNotSilent(t *testing.T) {
	t.Parallel()
	const heartbeat = 3 * time.Second // twice this is longer than a busy machine might keep the peer from reading
	for _, size := range []int{1 << 20, 150 << 10} {
		for _, l := range slowLines(t) {
			if !l.upgrade {
				continue // raw connections are not pinged
			}
			t.Run(fmt.Sprint(size, " bytes, ", l), func(t *testing.T) {
				t.Parallel()
				l.window = 16 << 10
				p, conns, stream := started(t, gcpool.WithHeartbeat(heartbeat))
				peer, r, _ := l.open(t, conns)
				outcome := make(chan error, 1)
				go func() { outcome <- stream.Deliver(t.Context(), "a", make([]byte, size)) }()
				rate := size / 9
				if got, err := read(io.LimitReader(r, int64(size)), size, rate); err != nil {
					t.Fatalf("after %d bytes: %v", got, err)
				}
				if err := <-outcome; err != nil {
					t.Fatal(err)
				}
				for pings := 0; pings < 3; { // now it answers
					b, err := r.ReadByte()
					if err != nil {
						t.Fatalf("after %d pings: %v; %+v", pings, err, p.Stats()[0])
					}
					if b == 0x89 {
						pings++
						peer.Write([]byte{0x8a, 0x80, 0, 0, 0, 0})
					}
				}
			})
		}
	}
}

// TestWhoOnlyAcknowledgesIsSilent: the peer's operating system has acknowledged everything, but
// no pong comes, so the peer is closed as silent.
func TestWhoOnlyAcknowledgesIsSilent(t *testing.T) {
	for _, l := range slowLines(t) {
		if !l.upgrade {
			continue
		}
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel()
			_, conns, stream := started(t, gcpool.WithHeartbeat(100*time.Millisecond))
			l.open(t, conns)
			pushes := 0
			eventually(t, "closed, however much it acknowledges", func() bool {
				stream.Deliver(t.Context(), "a", []byte("x"))
				pushes++
				return conns.Len() == 0
			})
			if pushes > 2000 { // with 3000, the peer's buffer is full
				t.Errorf("closed only after %d pushes", pushes)
			}
		})
	}
}

// TestWhoTakesIsNotSilent: the peer reads all the time, but the operating system's buffer
// grows, and the ping is at its end.
func TestWhoTakesIsNotSilent(t *testing.T) {
	slowLines(t)
	t.Parallel()
	const heartbeat = 3 * time.Second // twice this is longer than a busy machine might keep the peer from reading
	p, conns, stream := started(t, gcpool.WithHeartbeat(heartbeat), gcpool.WithOverflow(gcpool.DropNewest))
	l := line{"tcp", true, 16 << 10}
	peer, r, _ := l.open(t, conns)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for ctx.Err() == nil && stream.AddContext(ctx, "a", make([]byte, 2000)) == nil {
			time.Sleep(5 * time.Millisecond)
		}
	}()
	start, got, pings := time.Now(), 0, 0
	const rate = 16 << 10
	for time.Since(start) < 4*heartbeat {
		time.Sleep(time.Until(start.Add(time.Duration(got) * time.Second / rate)))
		head, payload, err := frame(r)
		if err != nil {
			t.Fatalf("after %d bytes, at %d a second without a pause, and %d pongs: %v; %+v", got, rate, pings, err, p.Stats()[0])
		}
		got += len(payload) + 4
		if head == 0x89 {
			pings++
			peer.Write([]byte{0x8a, 0x80, 0, 0, 0, 0})
		}
	}
}

// TestWhoStopsIsSilent: a peer that stops reading and sending is
// closed after two heartbeats, whatever it read before.
func TestWhoStopsIsSilent(t *testing.T) {
	t.Parallel()
	slowLines(t)
	kinds := []string{"tcp"}
	if runtime.GOOS == "linux" { // elsewhere a Unix socket holds too little
		kinds = append(kinds, "unix")
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			undisturbed(t, func() error { return stops(t, kind) })
		})
	}
}

func stops(t *testing.T, kind string) error {
	const d = 800 * time.Millisecond
	_, conns, stream := started(t, gcpool.WithHeartbeat(d))
	l := line{kind, true, 16 << 10}
	peer, r, _ := l.open(t, conns)
	if err := stream.Deliver(t.Context(), "a", make([]byte, 60<<10)); err != nil {
		return err
	}
	if err := stream.Deliver(t.Context(), "a", make([]byte, 50<<10)); err != nil {
		return err
	}
	time.Sleep(d + d/2) // long enough to be quiet and to be checked
	if _, err := io.ReadFull(r, make([]byte, 40<<10)); err != nil {
		return err
	}
	time.Sleep(d / 10)
	peer.Write([]byte{0x8a, 0x80, 0, 0, 0, 0}) // a pong; from now on the peer neither sends nor reads
	start := time.Now()
	for conns.Len() == 1 && time.Since(start) < 10*time.Second {
		time.Sleep(5 * time.Millisecond)
	}
	if took := time.Since(start); took > 2*d+d/2+d/10 {
		return fmt.Errorf("a peer that neither sent nor read was closed after %.2f heartbeats, want 2 and a quarter for the check", took.Seconds()/d.Seconds())
	}
	return nil
}

// TestWhoSendsIsNotSilent: a peer that sends is not silent, even if
// it reads nothing for longer than two heartbeats.
func TestWhoSendsIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithHeartbeat(10*time.Second), gcpool.WithWriteTimeout(time.Hour))
		raw, _ := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("a", ws)
			io.Copy(io.Discard, ws)
		}))("")
		synctest.Wait()
		add(t, stream, "a", "x")
		for range 100 {
			raw.Write([]byte{0x8a, 0x80, 0, 0, 0, 0}) // a pong
			time.Sleep(time.Second)
		}
		if conns.Len() == 0 {
			t.Error("closed")
		}
	})
}

// TestStalledWriteIsNoSignOfLife: a peer that neither sends nor reads
// is closed long before the write timeout.
func TestStalledWriteIsNoSignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithHeartbeat(10*time.Second), gcpool.WithWriteTimeout(time.Hour))
		serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("a", ws)
			io.Copy(io.Discard, ws)
		}))("")
		synctest.Wait()
		add(t, stream, "a", "x")
		time.Sleep(25 * time.Second)
		if conns.Len() == 1 {
			t.Error("the connection is still in the pool")
		}
	})
}

// TestLivePeerUnderTwoIds: one connection has two ids and its peer answers pings.
// Neither id may take it for silent.
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

// TestPeerIsNotSilentBehindABatchElsewhere: while a batch is being forwarded, the pool
// cannot ping the id's new connection. It must not take the peer for silent.
func TestPeerIsNotSilentBehindABatchElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t, gcpool.WithHeartbeat(4*time.Second))
		s := stuck{make(chan struct{})}
		p.SetCluster(s)
		add(t, stream, "alice", "x")
		synctest.Wait()
		_, ws := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			conns.Add("alice", ws)
			io.Copy(io.Discard, ws)
		}))("")
		go io.Copy(io.Discard, ws)
		time.Sleep(time.Minute)
		if conns.Len() != 1 {
			t.Error("a peer that was not pinged is closed as silent")
		}
		close(s.free)
		time.Sleep(time.Minute)
		if conns.Len() != 1 {
			t.Error("a peer that answers is closed as silent")
		}
	})
}

// slowErr is a context of the application's own type. One call of its Err takes a while.
type slowErr struct {
	context.Context
	takes *atomic.Int64 // ns
}

func (s slowErr) Err() error {
	time.Sleep(time.Duration(s.takes.Swap(0)))
	return nil
}

// TestNobodyIsSilentWhileAHeartbeatIsHeldUp: a heartbeat is interrupted,
// as when the process is stopped in the middle of it. The peers answer
// pings, but get none in that time, and must not be removed.
func TestNobodyIsSilentWhileAHeartbeatIsHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, _ := started(t, gcpool.WithHeartbeat(2*time.Second))
		handler := websocket.Handler(func(ws *websocket.Conn) {
			conns.Add(ws.Request().FormValue("id"), ws)
			io.Copy(io.Discard, ws)
		})
		takes := new(atomic.Int64)
		connect := serveMemory(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("id") == "slow" {
				handler.ServeHTTP(w, r.WithContext(slowErr{r.Context(), takes}))
			} else {
				gcpool.Upgrade(handler).ServeHTTP(w, r)
			}
		}))
		for _, id := range []string{"before", "slow", "behind"} {
			_, ws := connect("id=" + id)
			go io.Copy(io.Discard, ws)
		}
		time.Sleep(3 * time.Second)
		takes.Store(int64(5 * time.Second))
		time.Sleep(10 * time.Second)
		if n := conns.Len(); n != 3 || takes.Load() != 0 {
			t.Errorf("%d of 3 are connected", n)
		}
	})
}
