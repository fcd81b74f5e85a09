package promises

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestKickedHandlerWithoutDel: a handler whose connection was kicked, and which ends
// without a Del of its own, changes nothing for the next connection.
func TestKickedHandlerWithoutDel(t *testing.T) {
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
	<-leave["0"] // which has called Del, and does not return yet
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

// TestKickAfterAReconnect: the handler of the earlier connection has called its
// Del and returned, so a Del is nobody's deferred one.
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
			context.AfterFunc(r.Context(), func() { ended <- true }) // when net/http has ended it
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
			t.Errorf("Del of the present connection returns false, and %d is connected, though no earlier handler runs", c.Len())
		}
	})
}

// TestOwnDelAfterAReconnect: the second handler's own Del removes its own.
func TestOwnDelAfterAReconnect(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		_, c, _ := started(t, gcpool.WithHeartbeat(0))
		ended, dels := make(chan bool, 1), make(chan bool, 2)
		h := websocket.Handler(func(ws *websocket.Conn) {
			c.Add("a", ws)
			defer func() { dels <- c.Del("a") }()
			io.Copy(io.Discard, ws)
		})
		addr := serve(t, wrap, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			context.AfterFunc(r.Context(), func() { ended <- true })
		}))
		for i := range 2 {
			ws := dial(t, addr, "")
			eventually(t, "joined", func() bool { return c.Len() == 1 })
			ws.Close()
			if <-ended; !<-dels || c.Len() != 0 {
				t.Errorf("handler %d has called Del and returned, %d is connected", i, c.Len())
			}
		}
	})
}

// TestHandlerOverAPipeLeavesNothing: one that returns without Del leaves no entry behind.
func TestHandlerOverAPipeLeavesNothing(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		synctest.Test(t, func(t *testing.T) {
			_, c, _ := started(t, gcpool.WithHeartbeat(0))
			returned := make(chan bool, 1)
			connect := serveMemory(t, wrap, websocket.Handler(func(ws *websocket.Conn) {
				c.Add("a", ws)
				io.Copy(io.Discard, ws)
				returned <- true
			}))
			_, ws := connect("")
			synctest.Wait()
			ws.Close()
			<-returned
			time.Sleep(10 * time.Minute)
			if n := c.Len(); n != 0 {
				t.Errorf("ten minutes after the handler has returned, %d are connected", n)
			}
		})
	})
}

// TestDelByAHookIsAStrangers, though a handler's Add may have started its goroutine.
func TestDelByAHookIsAStrangers(t *testing.T) {
	told, goOn, result := make(chan bool, 10), make(chan bool), make(chan bool, 10)
	var conns *gcpool.ConnPool
	n := 0
	_, conns, _ = started(t, gcpool.WithPresence(func(_, id string, connected bool) {
		if n++; n == 1 {
			told <- true
			<-goOn
		} else if connected {
			result <- conns.Del(id)
		}
	}))
	handler := func(f func()) {
		done := make(chan bool)
		go func() { f(); close(done) }()
		<-done
	}
	handler(func() { // the first: comes, and has gone
		c, _ := net.Pipe()
		conns.Add("a", c)
		<-told
		conns.Del("a")
	})
	handler(func() {
		c, _ := net.Pipe()
		conns.Add("a", c)
	})
	goOn <- true
	if !<-result {
		t.Error("no earlier handler runs, and a hook's Del of the present connection returns false")
	}
}
