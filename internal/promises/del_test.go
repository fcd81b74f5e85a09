package promises

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/internal/nettest"
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

// TestDelOfAnOldHandler: Del by a handler whose connection was replaced has no effect, however
// late it comes. Any other Del removes the present connection.
func TestDelOfAnOldHandler(t *testing.T) {
	t.Parallel()
	both(t, testDelOfAnOldHandler)
}

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
		t.Error("a Del from outside, with three handlers still running, does not remove exactly once")
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

func TestHandlerOfAKickedConnectionDoesNotRemoveTheNext(t *testing.T) {
	t.Parallel()
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
			t.Error("DelConn does not remove exactly once")
		}
		return nil
	})
}

// TestGetThatFailsRemovesItsOwn: if the function that Get calls fails, Get removes the
// connection that it passed to the function, not one that was added in the meantime.
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

// TestAddOfTheSameConnectionChangesNothing: adding the present connection again leaves
// it open and counts nothing.
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

// TestHandlerThatClosesItsConnection: many handlers close their connection before their
// deferred Del. The Del must not remove the id's next connection.
func TestHandlerThatClosesItsConnection(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		_, c, _ := started(t)
		in, out := make(chan bool, 100), make(chan bool, 100)
		h := websocket.Handler(func(ws *websocket.Conn) {
			c.Add("a", ws)
			defer func() { out <- true }()
			defer c.Del("a")
			defer ws.Close() // as in many handlers
			in <- true
			io.Copy(io.Discard, ws)
		})
		addr := serve(t, wrap, h)
		gone := dial(t, addr, "")
		<-in
		for i := range 20 {
			next := dial(t, addr, "") // takes over: the old handler closes its ws, then calls Del
			<-in
			gone.Close()
			gone = next
			<-out
			if c.Len() != 1 {
				t.Fatalf("reconnect %d was thrown out by the old handler's deferred Del", i)
			}
		}
	})
}

// TestOwnDelAfterAReconnect: the deferred Del of the second handler removes the second
// connection.
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
				t.Errorf("handler %d has called Del and returned, but %d are connected", i, c.Len())
			}
		}
	})
}

// TestReaderAfterADelConn: an accept loop removes its connection with DelConn and adds the next
// one. A reader that the loop has started can remove the next one with Del.
func TestReaderAfterADelConn(t *testing.T) {
	_, conns, _ := started(t)
	for range 2 {
		c, _ := net.Pipe()
		conns.Add("a", c)
		if conns.Len() != 1 {
			t.Fatal("not connected")
		}
		read := make(chan bool)
		go func() { read <- conns.Del("a") }()
		if !<-read {
			t.Error("the reader's Del removes nothing")
		}
		if c, _ = net.Pipe(); conns.Add("a", c) != nil || !conns.DelConn("a", c) {
			t.Error("DelConn removes nothing")
		}
	}
}

// TestDelByAHookIsAStrangers: a handler's Add may have started the goroutine that runs a hook.
// A Del by that hook must not count as the handler's.
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
	handler(func() { // the first handler, which returns
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

// closesByDel is a connection that calls Del when it is closed, as an application's own type may.
type closesByDel struct {
	net.Conn
	del func()
}

func (c *closesByDel) Close() error {
	c.del()
	return c.Conn.Close()
}

// TestDelInsideCloseRemovesNoNewerConnection: the pool closes the old connection on a goroutine of
// its own, and the Del of its Close must not take that goroutine for a stranger's.
func TestDelInsideCloseRemovesNoNewerConnection(t *testing.T) {
	for what, wrap := range map[string]func(net.Conn) net.Conn{
		"plain": func(c net.Conn) net.Conn { return c },
		"TLS":   func(c net.Conn) net.Conn { return tls.Server(c, new(tls.Config)) },
	} {
		_, conns, _ := started(t)
		closed := make(chan bool)
		add := func() (peer net.Conn) {
			conn, peer := nettest.TCP(t)
			added := make(chan error)
			go func() { // its handler
				added <- conns.Add("a", wrap(&closesByDel{conn, func() {
					conns.Del("a")
					closed <- true
				}}))
				<-t.Context().Done()
			}()
			if err := <-added; err != nil {
				t.Fatal(err)
			}
			return peer
		}
		add()
		for range 3 {
			add()
			if <-closed; conns.Connected("a") != 1 {
				t.Fatalf("%s: a Del inside the Close of the old connection has removed the new one", what)
			}
		}
		if removed, _ := conns.Kick("a", 1000, ""); removed != 1 {
			t.Errorf("%s: the last connection is not there", what)
		}
		<-closed
	}
}

// bans is a connection whose Write calls Del for another id, as a consumer in this process may.
type bans struct {
	net.Conn
	del func() bool
}

func (b *bans) Write(p []byte) (int, error) {
	if !b.del() {
		return 0, errors.New("Del has no effect")
	}
	return len(p), nil
}

// TestDelInsideAnotherConnectionsWriteIsAStrangers: it removes a user who has connected again.
func TestDelInsideAnotherConnectionsWriteIsAStrangers(t *testing.T) {
	_, conns, stream := started(t)
	for range 2 {
		conn, _ := nettest.TCP(t)
		conns.Add("bob", conn)
	}
	conn, _ := nettest.TCP(t)
	conns.Add("moderator", &bans{conn, func() bool { return conns.Del("bob") }})
	if err := stream.Deliver(t.Context(), "moderator", []byte("bob")); err != nil || conns.Connected("bob") != 0 {
		t.Errorf("%v; bob has %d connections", err, conns.Connected("bob"))
	}
}
