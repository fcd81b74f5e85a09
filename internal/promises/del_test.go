package promises

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

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
			t.Fatal("a Del from outside removes nothing")
		}
		if _, err := ws.Read(make([]byte, 1)); err == nil {
			t.Fatal("still connected")
		}
		ws.Close()
		if err := stream.Deliver(t.Context(), "a", []byte("x")); err == nil {
			t.Fatal("delivered to a connection that was deleted")
		}
		<-ended
	}
}

// TestDelOfAnOldHandler has no effect, whenever it comes; anybody else's Del removes.
func TestDelOfAnOldHandler(t *testing.T) { both(t, testDelOfAnOldHandler) }

func testDelOfAnOldHandler(t *testing.T, wrap wrapper) {
	p, conns, _ := started(t)
	old := &late{make(chan chan struct{}, 10)}
	returned := make(chan bool, 10)
	handler := verbatim(p, old.leave)
	addr := serve(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
		handler(ws)
		returned <- true
	}))
	for i := range 4 {
		dial(t, addr, "id=a")
		eventually(t, "taken over", func() bool { return conns.Len() == 1 && len(old.handlers) == i })
	}
	if !conns.Del("a") || conns.Del("a") {
		t.Error("a Del from outside, with three handlers still running, does not remove once")
	}
	eventually(t, "the fourth ends", func() bool { return len(old.handlers) == 4 })
	dial(t, addr, "id=a")
	eventually(t, "back", func() bool { return conns.Connected("a") == 1 })
	for range 4 {
		old.letGo()
		<-returned
	}
	if conns.Connected("a") != 1 {
		t.Error("an old handler's Del closed the fifth connection")
	}
	if !conns.Del("a") {
		t.Error("a Del from outside does nothing")
	}
	old.letGo()
}

// TestKick removes a connection whoever calls, and its peer is told why.
func TestKick(t *testing.T) { both(t, testKick) }

func testKick(t *testing.T, wrap wrapper) {
	p, conns, stream := started(t)
	closed := make(chan bool, 10)
	addr := serve(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
		handler := ws.Request().FormValue("n")
		conns.Add("a", ws)
		if handler == "2" { // an old handler, if there is one, may kick as anybody may
			go conns.Kick("a", 4001, "your token has expired, é")
		}
		io.Copy(io.Discard, ws)
		closed <- true
	}))
	for _, n := range []string{"1", "2"} {
		_, r := handshake(t, addr, "n="+n, 0)
		code, reason := uint16(4001), "your token has expired, é"
		if n == "1" {
			code, reason = 1000, ""
			eventually(t, "joined", func() bool { return conns.Connected("a") == 1 })
			if n, err := conns.Kick("a", 1000, ""); n != 1 || err != nil {
				t.Errorf("Kick: %d, %v", n, err)
			}
		}
		head, payload, err := frame(r)
		if err != nil || head != 0x88 || payload != string(binary.BigEndian.AppendUint16(nil, code))+reason {
			t.Errorf("the peer got %x %q, %v", head, payload, err)
		}
		<-closed
	}
	if n, err := conns.Kick("a", 3000, ""); n != 0 || err != nil {
		t.Errorf("Kick of an id that is away: %d, %v", n, err)
	}
	if err := stream.Deliver(t.Context(), "a", nil); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("Deliver after Kick: %v", err)
	}
	settled(t, p)
}

// TestKickByAnOldHandler removes the newest connection, as its Del would not.
func TestKickByAnOldHandler(t *testing.T) {
	_, conns, _ := started(t)
	added, replaced, kicked := make(chan bool), make(chan bool), make(chan int)
	go func() {
		pipe(t, conns, "a")
		added <- true
		<-replaced
		n, _ := conns.Kick("a", 4001, "")
		kicked <- n
	}()
	<-added
	pipe(t, conns, "a")
	replaced <- true
	if n := <-kicked; n != 1 || conns.Connected("a") != 0 {
		t.Errorf("Kick: %d, %d connected", n, conns.Connected("a"))
	}
}

func TestKickRefuses(t *testing.T) {
	_, conns, _ := started(t)
	pipe(t, conns, "a")
	for _, k := range []struct {
		id     string
		code   int
		reason string
	}{
		{"", 1000, ""}, {"a", 0, ""}, {"a", 999, ""}, {"a", 1001, ""}, {"a", 1005, ""}, {"a", 1006, ""}, {"a", 2999, ""},
		{"a", 5000, ""}, {"a", -1, ""}, {"a", 1000 + 1<<16, ""}, {"a", 4000, strings.Repeat("x", 124)}, {"a", 4000, "\xff"},
	} {
		if n, err := conns.Kick(k.id, k.code, k.reason); n != 0 || !errors.Is(err, gcpool.ErrInvalid) {
			t.Errorf("Kick(%q, %d, %.10q): %d, %v", k.id, k.code, k.reason, n, err)
		}
	}
	if conns.Connected("a") != 1 {
		t.Fatal("a Kick that was refused has removed the connection")
	}
	if n, err := conns.Kick("a", 4999, strings.Repeat("é", 61)+"!"); n != 1 || err != nil || conns.Connected("a") != 0 {
		t.Errorf("Kick of a raw connection: %d, %v", n, err)
	}
	var none *gcpool.ConnPool
	if _, err := none.Kick("a", 1000, ""); err != gcpool.ErrNotRegistered || none.Connected("a") != 0 {
		t.Errorf("Kick of a nil pool: %v", err)
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
		t.Error("a Del from outside removes nothing")
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
					t.Error("a Del from outside removes nothing")
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

// TestGetThatFailsRemovesItsOwn: not the one that came meanwhile.
func TestGetThatFailsRemovesItsOwn(t *testing.T) {
	_, conns, stream := started(t)
	pipe(t, conns, "a")
	var peer net.Conn
	err := conns.Get("a", func(net.Conn) error {
		peer = pipe(t, conns, "a")
		return io.ErrUnexpectedEOF
	})
	if err != io.ErrUnexpectedEOF || conns.Len() != 1 {
		t.Errorf("Get: %v, %d connected", err, conns.Len())
	}
	add(t, stream, "a", "hello")
	equal(t, "received", lines(t, bufio.NewReader(peer), 1), []string{"hello"})
}

// TestAddOfTheSameConnectionChangesNothing: it stays open.
func TestAddOfTheSameConnectionChangesNothing(t *testing.T) {
	p, conns, stream := started(t)
	ours, peer := net.Pipe()
	for range 2 {
		if err := conns.Add("a", ours); err != nil {
			t.Fatal(err)
		}
	}
	add(t, stream, "a", "hello")
	equal(t, "received", lines(t, bufio.NewReader(peer), 1), []string{"hello"})
	if s := p.Stats()[0]; s.Joins != 1 || s.Takeovers != 0 {
		t.Errorf("%+v", s)
	}
	if !conns.Del("a") {
		t.Error("Del removes nothing")
	}
}
