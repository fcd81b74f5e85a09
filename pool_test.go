package gcpool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestOriginalUsage runs the program of the original README, at another address.
func TestOriginalUsage(t *testing.T) {
	pool := gcpool.NewPool()
	pool.Register("default")
	pool.Start()
	defer pool.Shutdown(context.Background())
	hello := func(ws *websocket.Conn) {
		if err := ws.Request().ParseForm(); err != nil {
			return
		}
		id := ws.Request().FormValue("id")
		pool.GetConn("default").Add(id, ws)
		defer pool.GetConn("default").Del(id)
		r := bufio.NewReader(ws)
		for {
			data, err := r.ReadBytes('\n')
			if err != nil {
				if err != io.EOF {
					return
				}
				break
			}
			pool.GetStream("default").Add("alice", data)
		}
	}
	srv := httptest.NewServer(websocket.Handler(hello))
	defer srv.Close()
	ws, err := websocket.Dial(strings.Replace(srv.URL, "http", "ws", 1)+"/?id=alice", "", srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	fmt.Fprintln(ws, "to myself")
	in := bufio.NewReader(ws)
	for _, want := range []string{"to myself\n", "\n"} { // the line keeps its newline, and the pool adds one
		if got, err := in.ReadString('\n'); got != want || err != nil {
			t.Errorf("received %q, %v; want %q", got, err, want)
		}
	}
}

func TestNilPoolsAreSafe(t *testing.T) {
	p := gcpool.NewPool()
	conns, stream := p.GetConn("unknown"), p.GetStream("unknown")
	if conns != nil || stream != nil {
		t.Fatal("an unknown name has a pool")
	}
	for call, err := range map[string]error{
		"ConnPool.Add": conns.Add("a", nil),
		"Get":          conns.Get("a", nil),
		"Add":          stream.Add("a", nil),
		"AddContext":   stream.AddContext(t.Context(), "a", nil),
		"Deliver":      stream.Deliver(t.Context(), "a", nil),
		"Broadcast":    stream.Broadcast(nil),
	} {
		if !errors.Is(err, gcpool.ErrNotRegistered) {
			t.Errorf("%s of a nil pool: %v", call, err)
		}
	}
	for range conns.All() {
		t.Error("a nil pool has connections")
	}
	if conns.Del("a") || conns.DelConn("a", nil) || conns.Len()+stream.Len()+stream.Cap() != 0 || conns.Name()+stream.Name() != "" {
		t.Error("a nil pool is not empty")
	}
}

func TestRegister(t *testing.T) {
	p := gcpool.NewPool(gcpool.WithBuffer(7), nil)
	if err := p.Register("a"); err != nil {
		t.Fatal(err)
	}
	before := p.GetConn("a")
	if err := p.Register("a", gcpool.WithBuffer(8)); !errors.Is(err, gcpool.ErrRegistered) {
		t.Errorf("a second Register: %v", err)
	}
	if p.GetConn("a") != before || p.GetStream("a").Cap() != 7 {
		t.Error("a second Register changed the pool")
	}
	if err := p.Register("b", nil, gcpool.WithBuffer(9)); err != nil || p.GetStream("b").Cap() != 9 {
		t.Errorf("Register does not override the default: %v, %d", err, p.GetStream("b").Cap())
	}
	if p.GetConn("b").Name() != "b" || p.GetStream("b").Name() != "b" {
		t.Error("wrong name")
	}
	if stats := p.Stats(); len(stats) != 2 || stats[0].Name != "a" || stats[1].Name != "b" {
		t.Errorf("%+v", stats)
	}
	if p.Register("default"); p.GetStream("default").Cap() != 7 {
		t.Error("an option of NewPool does not apply to a pool registered without it")
	}
	if q := gcpool.NewPool(); q.Register("x") != nil || q.GetStream("x").Cap() != 1000 {
		t.Error("the default buffer is not 1000")
	}
}

func TestOptionsWithoutMeaningAreRefused(t *testing.T) {
	for name, opt := range map[string]gcpool.Option{
		"buffer":    gcpool.WithBuffer(0),
		"outbox":    gcpool.WithOutbox(-1),
		"overflow":  gcpool.WithOverflow(17),
		"timeout":   gcpool.WithWriteTimeout(0),
		"heartbeat": gcpool.WithHeartbeat(-1),
		"mailbox":   gcpool.WithMailbox(-1, 10),
		"mailbox 2": gcpool.WithMailbox(1, -10),
	} {
		if err := gcpool.NewPool(opt).Register("a"); !errors.Is(err, gcpool.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := gcpool.NewPool(gcpool.WithUndelivered(nil), gcpool.WithPresence(nil), gcpool.WithLogger(nil),
		gcpool.WithHeartbeat(0), gcpool.WithMailbox(0, 0), gcpool.WithNewline(false))
	if err := p.Register("a"); err != nil {
		t.Errorf("options that switch off: %v", err)
	}
	p.Start()
	p.GetStream("a").Add("nobody", nil)
	p.Shutdown(t.Context())
}

// An uncomparable is a connection that cannot be compared: == panics.
type uncomparable struct {
	net.Conn
	_ []int
}

func TestBadInput(t *testing.T) {
	p := gcpool.NewPool(gcpool.WithOutbox(10))
	p.Register("a")
	p.Start()
	defer p.Shutdown(t.Context())
	conns, stream := p.GetConn("a"), p.GetStream("a")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var nobody context.Context
	for call, test := range map[string]struct{ got, want error }{
		"empty id":             {conns.Add("", &net.TCPConn{}), gcpool.ErrInvalid},
		"nil conn":             {conns.Add("a", nil), gcpool.ErrInvalid},
		"nil TCPConn":          {conns.Add("a", (*net.TCPConn)(nil)), gcpool.ErrInvalid},
		"nil WebSocket":        {conns.Add("a", (*websocket.Conn)(nil)), gcpool.ErrInvalid},
		"nil fn":               {conns.Get("a", nil), gcpool.ErrInvalid},
		"get nobody":           {conns.Get("a", func(net.Conn) error { return nil }), gcpool.ErrNotConnected},
		"message to no id":     {stream.Add("", nil), gcpool.ErrInvalid},
		"too large":            {stream.Add("a", make([]byte, 11)), gcpool.ErrTooLarge},
		"broadcast too large":  {stream.Broadcast(make([]byte, 11)), gcpool.ErrTooLarge},
		"nil context":          {stream.AddContext(nobody, "a", nil), gcpool.ErrInvalid},
		"nil context, Deliver": {stream.Deliver(nobody, "a", nil), gcpool.ErrInvalid},
		"nil context, end":     {p.Shutdown(nobody), gcpool.ErrInvalid},
		"ended context":        {stream.AddContext(ended, "a", nil), context.Canceled},
		"just fits":            {stream.Add("a", make([]byte, 10)), nil},
		"nil is empty":         {stream.Add("a", nil), nil},
	} {
		if !errors.Is(test.got, test.want) {
			t.Errorf("%s: %v, want %v", call, test.got, test.want)
		}
	}
	one, peer := net.Pipe()
	defer peer.Close()
	conns.Add("u", uncomparable{Conn: one})
	if conns.DelConn("u", uncomparable{Conn: one}) || !conns.Del("u") {
		t.Error("a connection that cannot be compared was, or cannot be removed")
	}
	conns.Add("u", uncomparable{Conn: peer}) // Shutdown closes it
	conns.Add("zero", &websocket.Conn{})
	if err := stream.Deliver(t.Context(), "zero", nil); err == nil {
		t.Error("delivered to a zero websocket.Conn")
	}
}

func TestGetAllAndLen(t *testing.T) {
	p := gcpool.NewPool()
	p.Register("a")
	p.Start()
	defer p.Shutdown(t.Context())
	conns := p.GetConn("a")
	want := map[string]net.Conn{}
	for i := range 100 {
		conn, peer := net.Pipe()
		defer peer.Close()
		id := fmt.Sprint("id", i)
		want[id] = conn
		conns.Add(id, conn)
		conns.Add(id, conn) // conn is already its connection
	}
	for id, conn := range conns.All() { // the loop changes conns
		if want[id] != conn {
			t.Errorf("%s has the wrong connection", id)
		}
		delete(want, id)
		conns.Del(id)
	}
	if len(want) != 0 || conns.Len() != 0 {
		t.Errorf("%d ids were left out, Len is %d", len(want), conns.Len())
	}
	conn, peer := net.Pipe()
	conns.Add("a", conn)
	reason := errors.New("the application's reason")
	if err := conns.Get("a", func(c net.Conn) error {
		if c != conn || conns.Len() != 1 {
			t.Error("Get passes another connection, or holds a lock")
		}
		return reason
	}); err != reason || conns.Len() != 0 {
		t.Errorf("Get: %v, Len %d", err, conns.Len())
	}
	if _, err := peer.Read(make([]byte, 1)); err == nil {
		t.Error("fn's error did not close the connection")
	}
	p.Shutdown(t.Context())
	if err := conns.Get("a", func(net.Conn) error { return nil }); err != gcpool.ErrClosed {
		t.Errorf("Get after Shutdown: %v", err)
	}
}

func TestPayloadsLeaveAsTheyAre(t *testing.T) {
	for _, newline := range []bool{true, false} {
		p := gcpool.NewPool(gcpool.WithNewline(newline))
		p.Register("a")
		p.Start()
		conn, peer := net.Pipe()
		p.GetConn("a").Add("a", conn)
		var want []byte
		go func() {
			for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 300_000} {
				data := slices.Repeat([]byte{'x', '\n'}, size/2+1)[:size]
				p.GetStream("a").Add("a", data)
				clear(data[:cap(data)]) // the caller can reuse data at once
			}
			p.Shutdown(context.Background())
		}()
		for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 300_000} {
			want = append(want, slices.Repeat([]byte{'x', '\n'}, size/2+1)[:size]...)
			if newline {
				want = append(want, '\n')
			}
		}
		got, err := io.ReadAll(peer)
		if string(got) != string(want) {
			t.Errorf("newline %v: received %d bytes, %v; want %d", newline, len(got), err, len(want))
		}
	}
}

func TestSameOrigin(t *testing.T) {
	for _, test := range []struct {
		host, origin string
		ok           bool
	}{
		{"example.com", "http://example.com", true},
		{"example.com", "https://EXAMPLE.com", true},
		{"example.com:443", "https://example.com", true},
		{"example.com", "http://example.com:80", true},
		{"localhost:8080", "http://localhost:8080", true},
		{"[::1]:8080", "http://[::1]:8080", true},
		{"[::1]", "http://[::1]", true},
		{"example.com", "https://example.com:8443", false},
		{"example.com", "https://evil.example", false},
		{"example.com", "https://example.com.evil.example", false},
		{"example.com", "https://example.com@evil.example", false},
		{"example.com", "ftp://example.com", false},
		{"example.com", "example.com", false},
		{"example.com", "null", false},
		{"example.com", "", false},
		{"", "http://", false},
		{"example.com", "http://%zz", false},
	} {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.Host = test.host
		req.Header.Set("Origin", test.origin)
		config := &websocket.Config{}
		if err := gcpool.SameOrigin(config, req); (err == nil) != test.ok || (config.Origin != nil) != test.ok {
			t.Errorf("host %q, origin %q: %v", test.host, test.origin, err)
		}
	}
	if gcpool.SameOrigin(nil, nil) == nil {
		t.Error("a nil handshake was accepted")
	}
}

func TestEverythingRaced(t *testing.T) {
	for range 20 {
		p := gcpool.NewPool(gcpool.WithLogger(slog.New(slog.DiscardHandler)), gcpool.WithUndelivered(func(gcpool.Undelivered) {}),
			gcpool.WithMailbox(time.Millisecond, 100), gcpool.WithPresence(func(string, string, bool) {}))
		p.Register("0")
		var wg sync.WaitGroup
		for i := range 8 {
			name := fmt.Sprint(i % 3)
			wg.Go(func() { p.Register(name); p.Start(); p.Stats() })
			wg.Go(func() {
				conn, peer := net.Pipe()
				go io.Copy(io.Discard, peer)
				p.GetConn(name).Add("a", conn)
				p.GetConn(name).Get("a", func(c net.Conn) error { return nil })
				p.GetConn(name).DelConn("a", conn)
				for range p.GetConn(name).All() {
				}
			})
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				p.GetStream(name).Add("a", nil)
				p.GetStream(name).Deliver(ctx, "a", nil)
				p.GetStream(name).Broadcast(nil)
				p.GetConn(name).Del("a")
				runtime.Gosched()
				p.Shutdown(ctx)
			})
		}
		wg.Wait()
		for _, s := range p.Stats() {
			if s.Waiting != 0 || s.Connections != 0 || s.Accepted != s.Written+s.Undelivered {
				t.Errorf("after Shutdown: %+v", s)
			}
		}
	}
}
