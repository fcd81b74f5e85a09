package promises

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// verbatim is the original README's handler. Before it returns, and so before
// its deferred Del, it waits for leave.
func verbatim(pool *gcpool.Pool, leave func()) websocket.Handler {
	return func(ws *websocket.Conn) {
		id := ws.Request().FormValue("id")
		pool.GetConn("default").Add(id, ws)
		defer pool.GetConn("default").Del(id)
		defer leave()
		r := bufio.NewReader(ws)
		for {
			if _, err := r.ReadBytes('\n'); err != nil {
				return
			}
		}
	}
}

// late holds handlers back until they are let go, oldest first.
type late struct{ handlers chan chan struct{} }

func (l *late) leave() {
	free := make(chan struct{})
	l.handlers <- free
	<-free
}

func (l *late) letGo() { close(<-l.handlers) }

func TestReconnectsWhoseOldHandlersLeaveLateLoseNothing(t *testing.T) {
	both(t, testReconnectsWhoseOldHandlersLeaveLateLoseNothing)
}

func testReconnectsWhoseOldHandlersLeaveLateLoseNothing(t *testing.T, wrap wrapper) {
	var r reports
	p, conns, stream := started(t, gcpool.WithUndelivered(r.hook))
	old := &late{make(chan chan struct{}, 1000)}
	addr := serve(t, wrap, verbatim(p, old.leave))
	in := dial(t, addr, "id=alice")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	var before net.Conn
	for i := range 200 {
		conns.Get("alice", func(c net.Conn) error { before = c; return nil })
		in = dial(t, addr, "id=alice")
		eventually(t, "taken over", func() bool {
			var now net.Conn
			conns.Get("alice", func(c net.Conn) error { now = c; return nil })
			return now != before
		})
		if i%3 > 0 { // the handlers of the replaced leave now, or with the next
			for range i % 3 {
				old.letGo()
			}
		}
		want := fmt.Sprint("message ", i)
		if err := stream.Deliver(t.Context(), "alice", []byte(want)); err != nil {
			t.Fatalf("push %d: %v", i, err)
		}
		if got := lines(t, bufio.NewReader(in), 1)[0]; got != want {
			t.Fatalf("push %d: received %q", i, got)
		}
	}
	equal(t, "undelivered", r.take(t, nil), nil)
	if s := settled(t, p); s.Written != 200 {
		t.Errorf("%d of 200 were written", s.Written)
	}
	in.Close()
	go func() {
		for free := range old.handlers {
			close(free)
		}
	}()
	eventually(t, "left", func() bool { return conns.Len() == 0 })
	shutdown(p, 5*time.Second)
	close(old.handlers)
}

func TestWhatWaitsFollowsToTheNewConnectionInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := started(t, gcpool.WithUndelivered(r.hook))
		stuck := pipe(t, conns, "a")
		for i := range 100 {
			add(t, stream, "a", fmt.Sprint("message ", i))
			synctest.Wait()
		}
		stuck.Read(make([]byte, 3)) // "message 0" is cut: its peer cannot have it whole
		start := time.Now()
		in := bufio.NewReader(pipe(t, conns, "a"))
		add(t, stream, "a", "message 100")
		for i := 1; i <= 100; i++ {
			if got := lines(t, in, 1)[0]; got != fmt.Sprint("message ", i) {
				t.Fatalf("got %q, want message %d", got, i)
			}
		}
		within(t, "taken over", start, 0, 50*time.Millisecond)
		synctest.Wait()
		equal(t, "undelivered", r.take(t, gcpool.ErrNotConnected), []string{"a message 0"})
		if _, err := stuck.Read(make([]byte, 1)); err == nil {
			t.Error("the old connection is still open")
		}
		if s := settled(t, p); s.Written != 100 || conns.Len() != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestTakeoverBetweenKindsOfConnections(t *testing.T) {
	both(t, testTakeoverBetweenKindsOfConnections)
}

func testTakeoverBetweenKindsOfConnections(t *testing.T, wrap wrapper) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := started(t)
		pipe(t, conns, "a")
		for i := range 10 {
			add(t, stream, "a", fmt.Sprint(i))
			synctest.Wait()
		}
		handler := verbatim(p, func() {})
		raw, _ := serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
			ws.PayloadType = websocket.BinaryFrame
			handler(ws)
		}))("id=a")
		in := bufio.NewReader(raw)
		for i := range 10 {
			if op, got, err := frame(in); op != 0x82 || got != fmt.Sprint(i, "\n") {
				t.Fatalf("got frame %x %q, %v; want binary %d", op, got, err, i)
			}
		}
	})
}

func TestTakenOverWebSocketIsToldSo(t *testing.T) { both(t, testTakenOverWebSocketIsToldSo) }

func testTakenOverWebSocketIsToldSo(t *testing.T, wrap wrapper) {
	p, conns, _ := started(t)
	addr := serve(t, wrap, verbatim(p, func() {}))
	first := dial(t, addr, "id=a")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	status := make(chan string, 1)
	go func() {
		f, err := first.NewFrameReader()
		if err != nil {
			status <- err.Error()
			return
		}
		buf := make([]byte, 10)
		n, _ := f.Read(buf)
		status <- fmt.Sprintf("%x %x", f.PayloadType(), buf[:n])
	}()
	dial(t, addr, "id=a")
	if got := <-status; got != "8 0fa0" {
		t.Errorf("the old connection got %s, want a close frame with status 4000", got)
	}
}

func TestDelFromOutsideKicks(t *testing.T) { both(t, testDelFromOutsideKicks) }

func testDelFromOutsideKicks(t *testing.T, wrap wrapper) {
	p, conns, stream := started(t)
	ended := make(chan bool)
	h := verbatim(p, func() {})
	addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		context.AfterFunc(r.Context(), func() { ended <- true })
	}))
	for range 20 {
		ws := dial(t, addr, "id=a")
		eventually(t, "joined", func() bool { return conns.Len() == 1 })
		if !conns.Del("a") {
			t.Fatal("Del from outside was taken for a handler's")
		}
		if _, err := ws.Read(make([]byte, 1)); err == nil {
			t.Fatal("still connected")
		}
		if err := stream.Deliver(t.Context(), "a", []byte("x")); err == nil {
			t.Fatal("delivered to a connection that was deleted")
		}
		<-ended
	}
}

func TestEachEarlierHandlerIsOwedOneDel(t *testing.T) { both(t, testEachEarlierHandlerIsOwedOneDel) }

func testEachEarlierHandlerIsOwedOneDel(t *testing.T, wrap wrapper) {
	p, conns, _ := started(t)
	old := &late{make(chan chan struct{}, 10)}
	addr := serve(t, wrap, verbatim(p, old.leave))
	for i := range 4 {
		dial(t, addr, "id=a")
		eventually(t, "taken over", func() bool { return conns.Len() == 1 && len(old.handlers) == i })
	}
	for i, want := range []bool{false, false, false, true, false} {
		if got := conns.Del("a"); got != want {
			t.Errorf("Del %d with three handlers still running: %v, want %v", i, got, want)
		}
	}
	for range 4 {
		old.letGo()
	}
}

func TestHandlerOfAKickedConnectionDoesNotRemoveTheNext(t *testing.T) {
	both(t, testHandlerOfAKickedConnectionDoesNotRemoveTheNext)
}

func testHandlerOfAKickedConnectionDoesNotRemoveTheNext(t *testing.T, wrap wrapper) {
	p, conns, stream := started(t)
	old := &late{make(chan chan struct{}, 10)}
	returned := make(chan bool, 10)
	handler := verbatim(p, old.leave)
	addr := serve(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
		handler(ws)
		returned <- true
	}))
	dial(t, addr, "id=a")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	conns.Del("a")
	ws := dial(t, addr, "id=a")
	eventually(t, "back", func() bool { return conns.Len() == 1 })
	old.letGo() // the kicked handler runs its Del
	<-returned
	for range 50 {
		if err := stream.Deliver(t.Context(), "a", []byte("x")); err != nil {
			t.Fatal(err)
		}
		lines(t, bufio.NewReader(ws), 1)
	}
	if !conns.Del("a") {
		t.Error("a second Del was taken for a handler's that has been paid")
	}
	old.letGo()
}

// contexts are ways in which a request's context ends before its handler.
var contexts = map[string]func(http.Handler) (http.Handler, func()){
	"timeout middleware": func(h http.Handler) (http.Handler, func()) {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Millisecond)
			defer cancel()
			h.ServeHTTP(w, r.WithContext(ctx))
		}), func() {}
	},
	"base context": func(h http.Handler) (http.Handler, func()) {
		base, cancel := context.WithCancel(context.Background())
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, stop := context.WithCancel(r.Context())
			defer stop()
			context.AfterFunc(base, stop)
			h.ServeHTTP(w, r.WithContext(ctx))
		}), cancel
	},
}

func TestContextThatEndsEarlyIsNotTheHandlersEnd(t *testing.T) {
	for name, wrap := range contexts {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, upgrade wrapper) {
				p, conns, stream := started(t)
				old := &late{make(chan chan struct{}, 10)}
				ended, returned := make(chan context.Context, 10), make(chan bool, 10)
				inner := verbatim(p, old.leave)
				h, cancel := wrap(websocket.Handler(func(ws *websocket.Conn) {
					ended <- ws.Request().Context()
					inner(ws)
					returned <- true
				}))
				addr := serve(t, upgrade, h)
				dial(t, addr, "id=a")
				ctx := <-ended
				eventually(t, "joined", func() bool { return conns.Len() == 1 })
				cancel()
				<-ctx.Done()
				time.Sleep(1500 * time.Millisecond) // a look at every connection comes each second
				if conns.Len() != 1 {
					t.Fatal("the connection was taken for one whose handler has returned")
				}
				ws := dial(t, addr, "id=a")
				<-(<-ended).Done()
				eventually(t, "taken over", func() bool { return len(old.handlers) == 1 })
				old.letGo()
				<-returned
				for range 20 {
					if err := stream.Deliver(t.Context(), "a", []byte("x")); err != nil {
						t.Fatal("the late handler's Del removed the new connection: ", err)
					}
					lines(t, bufio.NewReader(ws), 1)
				}
				if !conns.Del("a") {
					t.Error("a kick was taken for a handler's Del")
				}
				old.letGo()
			})
		})
	}
}

func TestHandlerThatReturnsWithoutDelLeavesNothing(t *testing.T) {
	both(t, testHandlerThatReturnsWithoutDelLeavesNothing)
}

func testHandlerThatReturnsWithoutDelLeavesNothing(t *testing.T, wrap wrapper) {
	_, conns, _ := started(t)
	addr := serve(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
		conns.Add("a", ws)
		ws.Read(make([]byte, 1))
	}))
	ws := dial(t, addr, "")
	eventually(t, "joined", func() bool { return conns.Len() == 1 })
	ws.Close()
	eventually(t, "left", func() bool { return conns.Len() == 0 })

	first := dial(t, addr, "")
	eventually(t, "joined again", func() bool { return conns.Len() == 1 })
	first.Write([]byte("x")) // the handler returns; nobody has looked yet
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Fatal("the handler did not return")
	}
	time.Sleep(10 * time.Millisecond)
	dial(t, addr, "")
	eventually(t, "back", func() bool { return conns.Len() == 1 })
	eventually(t, "a kick works", func() bool { return conns.Del("a") })
}

func TestDelConnOnlyRemovesItsOwn(t *testing.T) {
	_, conns, stream := started(t)
	old, _ := net.Pipe()
	conns.Add("a", old)
	in := pipe(t, conns, "a")
	if conns.DelConn("a", old) {
		t.Error("DelConn of the old connection removed the new one")
	}
	add(t, stream, "a", "x")
	equal(t, "received", lines(t, bufio.NewReader(in), 1), []string{"x"})
	conns.Get("a", func(now net.Conn) error {
		if !conns.DelConn("a", now) || conns.DelConn("a", now) {
			t.Error("DelConn does not remove once")
		}
		return nil
	})
}

func TestManyAddsOfOneIDLeaveOne(t *testing.T) {
	_, conns, stream := started(t)
	var mu sync.Mutex
	var peers []net.Conn
	var wg sync.WaitGroup
	for range 300 {
		wg.Go(func() {
			peer := pipe(t, conns, "a")
			mu.Lock()
			defer mu.Unlock()
			peers = append(peers, peer)
		})
	}
	wg.Wait()
	if conns.Len() != 1 {
		t.Errorf("Len is %d", conns.Len())
	}
	add(t, stream, "a", "for the survivor")
	open := make(chan string, len(peers))
	for _, peer := range peers {
		wg.Go(func() {
			line, _ := bufio.NewReader(peer).ReadString('\n')
			open <- strings.TrimSuffix(line, "\n")
			if line != "" {
				conns.Del("a")
			}
		})
	}
	wg.Wait()
	close(open)
	var got []string
	for line := range open {
		if line != "" {
			got = append(got, line)
		}
	}
	equal(t, "received by all", got, []string{"for the survivor"})
}
