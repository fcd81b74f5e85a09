package promises

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestKickedHandlerWithoutDel: a handler whose connection was kicked returns without calling
// Del. The next connection must not be affected.
func TestKickedHandlerWithoutDel(t *testing.T) {
	t.Parallel()
	p, conns, _ := started(t)
	leave, returned := map[string]chan bool{"0": make(chan bool), "1": make(chan bool)}, make(chan bool)
	addr := serve(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
		conns.Add("a", ws)
		n := ws.Request().FormValue("n")
		if n == "1" {
			context.AfterFunc(ws.Request().Context(), func() { returned <- true })
		}
		io.Copy(io.Discard, ws)
		if n == "0" {
			conns.Del("a")
		}
		if n != "2" {
			leave[n] <- true // begins to leave
			<-leave[n]
		}
	}))
	came := uint64(0)
	connect := func(n string) {
		came++
		dial(t, addr, "n="+n)
		eventually(t, "joined", func() bool { s := p.Stats()[0]; return s.Joins+s.Takeovers == came })
	}
	connect("0")
	connect("1") // takes over
	<-leave["0"] // the first handler has called Del, but has not returned
	if !conns.Del("a") {
		t.Fatal("a Del from outside removes nothing")
	}
	<-leave["1"]
	connect("2")
	leave["1"] <- true
	<-returned
	if !conns.Del("a") {
		t.Error("a Del from outside removes nothing")
	}
	leave["0"] <- true
}

// TestKickOfManyAtOnce: each peer can answer its close frame, however
// many connections are being closed.
func TestKickOfManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, _ := started(t)
		dial := serveMemory(t, gcpool.Upgrade, websocket.Handler(func(ws *websocket.Conn) {
			id := ws.Request().FormValue("id")
			conns.Add(id, ws)
			defer conns.Del(id)
			io.Copy(io.Discard, ws)
		}))
		peers := make([]net.Conn, 1500)
		for i := range peers {
			peers[i], _ = dial(fmt.Sprint("id=", i))
		}
		synctest.Wait()
		for i := range peers {
			conns.Kick(fmt.Sprint(i), 4001, "")
		}
		for i, peer := range peers {
			if _, payload, err := frame(bufio.NewReader(peer)); payload != "\x0f\xa1" {
				t.Fatalf("peer %d: close frame %q, %v", i, payload, err)
			}
		}
		for i, peer := range peers {
			if _, err := io.WriteString(peer, "\x88\x82\x00\x00\x00\x00\x0f\xa1"); err != nil {
				t.Fatalf("peer %d cannot answer: %v", i, err)
			}
		}
	})
}

// TestKickAfterAReconnect: the first handler has called Del and returned, so a later Del from
// outside removes the present connection.
func TestKickAfterAReconnect(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		_, c, _ := started(t, gcpool.WithHeartbeat(0))
		ended := make(chan bool, 1)
		h := websocket.Handler(func(ws *websocket.Conn) {
			c.Add("a", ws)
			defer c.Del("a")
			io.Copy(io.Discard, ws)
		})
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			context.AfterFunc(r.Context(), func() { ended <- true }) // once net/http has ended the request
		}))
		ws := dial(t, addr, "")
		eventually(t, "joined", func() bool { return c.Len() == 1 })
		ws.Close()
		<-ended
		if n := c.Len(); n != 0 {
			t.Fatalf("%d are connected after the handler's own Del", n)
		}
		dial(t, addr, "") // reconnects
		eventually(t, "back", func() bool { return c.Len() == 1 })
		if !c.Del("a") {
			t.Errorf("Del of the present connection returns false, and %d are connected, though no earlier handler is running", c.Len())
		}
	})
}

// TestKick: Kick removes the connection, whichever goroutine calls
// it, and the peer gets the code and the reason.
func TestKick(t *testing.T) {
	t.Parallel()
	both(t, testKick)
}

func testKick(t *testing.T, wrap wrapper) {
	p, conns, stream := started(t)
	closed := make(chan bool, 10)
	addr := serve(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
		handler := ws.Request().FormValue("n")
		conns.Add("a", ws)
		if handler == "2" { // any goroutine may kick, even an old handler
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

// TestKickByAnOldHandler: Kick by an old handler removes the newest
// connection, although its Del would not.
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
