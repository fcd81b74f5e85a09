package cluster

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestVersionIsOfTheConnection: a connection's version is the time when it was added. It must
// not get newer because its node looks at it late, or is told of it again.
func TestVersionIsOfTheConnection(t *testing.T) {
	pool := gcpool.NewPool()
	pool.Register(name)
	conns := pool.GetConn(name)
	g, k := haunt(t, serve(t, nil).ClientURL(), "g", pool), key{name, "alice"}
	changed := func() { remote{g.Node}.Changed(name, "alice") }
	first, second, third := pipe(t), pipe(t), pipe(t)

	isOfHers := func(what string) {
		t.Helper()
		since := g.Node.local.Since(name, "alice")
		if e := g.entries[k]; e == nil || e.added != since || e.version != g.clock.at(since) {
			t.Errorf("%s: entry is %+v, the connection came at %d", what, e, g.clock.at(since))
		}
	}

	conns.Add("alice", first)
	changed()
	time.Sleep(time.Millisecond)
	changed() // as for an earlier removal
	g.update()
	isOfHers("it looks late")
	changed()
	if g.update(); g.latest != 1 {
		t.Error("the same connection was announced again")
	}
	isOfHers("once more")

	conns.Add("alice", second)
	changed()
	conns.Add("alice", third) // the node is told of it in a moment
	g.update()
	isOfHers("the next has come")
	changed()
	if g.update(); g.latest != 2 {
		t.Errorf("announced %d times", g.latest)
	}
	isOfHers("it is told of the next")

	changed()
	conns.Del("alice")
	if g.update(); g.entries[k] != nil {
		t.Error("announced though it has gone")
	}
	changed()
	if g.update(); g.entries[k] != nil || g.latest != 2 || len(g.dirty) > 0 {
		t.Error("a removal is no change")
	}
}

// A bundle is a connection whose values panic on ==.
type bundle struct {
	net.Conn
	_ []int
}

// TestConnectionThatCannotBeCompared: such a connection is handled like any other, and each is
// told apart from the one before.
func TestConnectionThatCannotBeCompared(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	seen := func() {
		t.Helper()
		eventually(t, "seen", func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.ids.Load() == 1 && len(a.dirty) == 0
		})
	}
	for range 3 {
		if err := a.conns.Add("alice", bundle{Conn: pipe(t)}); err != nil {
			t.Fatal(err)
		}
		seen()
		a.known("alice", b)
	}
	a.conns.Add("alice", pipe(t)) // this one can be compared
	seen()
	b.dial("alice")
	eventually(t, "the older is closed", func() bool { return a.conns.Len() == 0 })
}

// TestBundleThatLeaves: the second of two connections that cannot be compared, and with it the
// id, has gone before the node looks.
func TestBundleThatLeaves(t *testing.T) {
	pool := gcpool.NewPool()
	pool.Register(name)
	conns := pool.GetConn(name)
	g := haunt(t, serve(t, nil).ClientURL(), "g", pool)
	changed := remote{g.Node}.Changed
	conns.Add("alice", bundle{Conn: pipe(t)})
	changed(name, "alice")
	if g.update(); g.entries[alice] == nil {
		t.Fatal("not announced")
	}
	conns.Add("alice", bundle{Conn: pipe(t)})
	changed(name, "alice")
	conns.Del("alice")
	changed(name, "alice")
	if g.update(); g.entries[alice] != nil || len(g.dirty) > 0 {
		t.Errorf("alice has left, but is announced: %+v", g.entries[alice])
	}
}

// TestEvictsNoneThatCameAfter: an announcement from another node closes the connection that
// this node has announced, not a newer one that it has not been told of yet.
func TestEvictsNoneThatCameAfter(t *testing.T) {
	pool := gcpool.NewPool()
	pool.Register(name)
	conns := pool.GetConn(name)
	g := haunt(t, serve(t, nil).ClientURL(), "g", pool)
	conns.Add("alice", pipe(t))
	remote{g.Node}.Changed(name, "alice")
	g.update()
	announced, version := *g.entries[alice], ahead(0)
	time.Sleep(time.Millisecond)
	conns.Add("alice", pipe(t))
	if g.evict(&announced) || conns.Len() != 1 {
		t.Error("a connection other than the announced one was closed")
	}
	if g.elsewhere(alice, "h", version); conns.Len() != 1 {
		t.Error("the newer connection was closed")
	}
	remote{g.Node}.Changed(name, "alice")
	g.update()
	if g.elsewhere(alice, "h", ahead(time.Minute)); conns.Len() != 0 {
		t.Error("the older connection was not closed")
	}
}

// TestOlderThanJoin: a connection from before its node joined gives way to a newer one. A
// connection that comes after Join does not.
func TestOlderThanJoin(t *testing.T) {
	s := serve(t, nil)
	b := join(t, s.ClientURL())
	pool := gcpool.NewPool()
	pool.Register(name)
	conns := pool.GetConn(name)
	conns.Add("alice", pipe(t))
	conns.Add("bob", pipe(t))
	time.Sleep(time.Millisecond)
	b.dial("alice")
	n, err := Join(pool, connect(t, s.ClientURL()))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Leave(t.Context())
	eventually(t, "the older gives way", func() bool { return conns.Len() == 1 })
	if b.conns.Len() != 1 {
		t.Error("the newer connection was closed")
	}
	conns.Add("alice", pipe(t))
	eventually(t, "the newest wins", func() bool { return b.conns.Len() == 0 })
	if conns.Len() != 2 {
		t.Error("the newest connection was closed")
	}
}

// TestGhost: a stopped node goes on, and finds a handshake in its backlog whose client gave up
// in the meantime. It must not replace the connection that the user has elsewhere.
func TestGhost(t *testing.T) {
	s := serve(t, nil)
	a, b := join(t, s.ClientURL()), join(t, s.ClientURL())
	l, err := net.Listen("tcp", "127.0.0.1:0") // the listener of a, which is stopped
	if err != nil {
		t.Fatal(err)
	}
	gone, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(gone, "GET /?id=alice HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	gone.Close()
	alice := b.dial("alice")
	b.known("alice", a)
	served := make(chan struct{})
	h := gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
		a.conns.Add("alice", ws)
		eventually(t, "it is announced", func() bool { return a.Stats().IDs == 1 })
	}))
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		func() { h.ServeHTTP(w, r) }() // middleware, so it returns only after the handler
		close(served)
	})}
	go srv.Serve(l)
	defer srv.Close()
	<-served
	if err := a.stream.Deliver(t.Context(), "alice", []byte("x")); err != nil || alice.read() != "x" {
		t.Errorf("Deliver: %v", err)
	}
}

// TestVersionIsNotOfALaterClock: while a connection waits to be announced, its node hears from
// a node whose clock is ahead. A connection that came in the meantime, at a node that has not
// heard that clock, is still the newer one.
func TestVersionIsNotOfALaterClock(t *testing.T) {
	pool := gcpool.NewPool()
	if err := pool.Register(name); err != nil {
		t.Fatal(err)
	}
	g := haunt(t, serve(t, nil).ClientURL(), "g", pool)
	conns := pool.GetConn(name)
	if err := conns.Add("alice", pipe(t)); err != nil {
		t.Fatal(err)
	}
	remote{g.Node}.Changed(name, "alice")
	time.Sleep(time.Millisecond)
	newer := g.clock.at(time.Now())
	time.Sleep(time.Millisecond)
	ahead := appendString(append(appendString(nil, strings.Repeat("3", 22)), alive), "")
	g.hear(&nats.Msg{Subject: g.subject("s"), Data: append(binary.AppendUvarint(ahead, newer+30e6), 0, 0)})
	if g.elsewhere(key{name, "alice"}, "h", newer); conns.Len() != 0 {
		t.Error("the older connection wins")
	}
}
