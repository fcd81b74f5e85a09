package adapters

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nulijiabei/gcpool"
)

// sizes are those around which a frame's header changes, and one that would be cut in
// pieces on a byte stream.
var sizes = []int{0, 1, 124, 125, 126, 1000, 65535, 65536, 100 << 10}

// payload is that of push i; larger ones carry their number.
func payload(i int) []byte {
	size := sizes[0]
	if i%20 < len(sizes) {
		size = sizes[i%20]
	}
	p := fmt.Appendf(nil, "push %d ", i)
	return bytes.Repeat(p, size/len(p)+1)[:size]
}

// TestPushesPassBetweenTheLibrarysMessages: pushes, what the library sends back, and its
// pongs arrive whole, each kind in its order. A pong may stand for the pings before its own
// (RFC 6455 section 5.5.3).
func TestPushesPassBetweenTheLibrarysMessages(t *testing.T) {
	const pushes, own = 1000, 200
	forEach(t, func(f *fixture) {
		alice := f.connect("alice")
		answered := -1
		alice.SetPongHandler(func(data string) error {
			ping, err := strconv.Atoi(data)
			if err != nil || ping <= answered {
				f.Errorf("pong %q after %d", data, answered)
			}
			answered = ping
			return nil
		})
		go func() {
			for i := range pushes {
				if err := f.stream.Add("alice", payload(i)); err != nil {
					f.Errorf("push %d: %v", i, err)
				}
			}
		}()
		go func() {
			for i := range own {
				alice.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "its own %d", i))
				alice.WriteControl(websocket.PingMessage, fmt.Append(nil, i), time.Now().Add(patience))
			}
			alice.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "its own %d", own)) // behind the last pong
		}()
		for push, back := 0, 0; push < pushes || back <= own; {
			kind, message, err := alice.ReadMessage()
			switch {
			case err != nil:
				f.Fatalf("after %d pushes and %d others: %v", push, back, err)
			case kind != websocket.TextMessage:
				f.Fatalf("a message of kind %d", kind)
			case bytes.Equal(message, append(payload(push), '\n')):
				push++
			case string(message) == fmt.Sprintf("its own %d", back):
				back++
			default:
				f.Fatalf("after %d pushes and %d others: %d bytes, %.20q", push, back, len(message), message)
			}
		}
		if answered != own-1 {
			f.Errorf("the last pong was for ping %d of %d", answered, own)
		}
	}, gcpool.WithOutbox(64<<20), gcpool.WithWriteTimeout(time.Minute)) // however busy the machine is
}

func TestTakeoverClosesTheOldOneAndItsHandlerLeavesTheNewOneAlone(t *testing.T) {
	forEach(t, func(f *fixture) {
		first := f.connect("alice")
		second := f.connect("alice")
		f.wantClose(first, 4500, "")
		ctx, cancel := context.WithTimeout(f.Context(), patience)
		defer cancel()
		for i := range 100 { // the first one's handler may end at any of them
			if err := f.stream.Deliver(ctx, "alice", payload(5)); err != nil {
				f.Fatalf("push %d after the takeover: %v", i, err)
			}
			if _, _, err := second.ReadMessage(); err != nil {
				f.Fatal(err)
			}
		}
	})
}

func TestKickTellsItsCodeAndReason(t *testing.T) {
	forEach(t, func(f *fixture) {
		alice := f.connect("alice")
		if n, err := f.conns.Kick("alice", 4403, "signed out"); n != 1 || err != nil {
			f.Errorf("Kick: %d, %v", n, err)
		}
		f.wantClose(alice, 4403, "signed out")
	})
}

func TestShutdownDeliversAndSaysGoodbye(t *testing.T) {
	forEach(t, func(f *fixture) {
		alice := f.connect("alice")
		for i := range 10 {
			f.stream.Add("alice", payload(i))
		}
		ended := make(chan error, 1)
		go func() { ended <- f.pool.Shutdown(f.Context()) }()
		for i := range 10 {
			if _, message, err := alice.ReadMessage(); err != nil || len(message) != len(payload(i))+1 {
				f.Fatalf("push %d: %d bytes, %v", i, len(message), err)
			}
		}
		f.wantClose(alice, websocket.CloseGoingAway, "")
		alice.Close()
		if err := <-ended; err != nil {
			f.Errorf("Shutdown: %v", err)
		}
	})
}

func TestEndOfTheHandlerRemovesItsConnection(t *testing.T) {
	for name, end := range map[string]func(*fixture, *websocket.Conn){
		"goodbye": func(f *fixture, ws *websocket.Conn) {
			goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
			ws.WriteMessage(websocket.CloseMessage, goodbye)
			if got, err := io.ReadAll(ws.NetConn()); string(got) != "\x88\x02"+string(goodbye) || err != nil {
				f.Errorf("the goodbye was answered with % x, %v", got, err)
			}
		},
		"cut": func(_ *fixture, ws *websocket.Conn) { ws.Close() },
		"too long": func(_ *fixture, ws *websocket.Conn) {
			ws.WriteMessage(websocket.TextMessage, make([]byte, messageMax+1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			forEach(t, func(f *fixture) {
				end(f, f.connect("alice"))
				f.await("the end", func() bool { return f.conns.Len() == 0 })
				err := f.stream.Deliver(f.Context(), "alice", []byte("hello"))
				if !errors.Is(err, gcpool.ErrNotConnected) {
					f.Errorf("a push afterwards: %v", err)
				}
			})
		})
	}
}

func TestOnlyUsersFromPagesAreLetIn(t *testing.T) {
	forEach(t, func(f *fixture) {
		for _, c := range []struct {
			id, page string
			want     int
		}{
			{"alice", f.url, 101}, {"alice", "https://app.example.com", 101}, {"", f.url, 403},
			{"alice", "https://evil.example", 403}, {"alice", "null", 403},
		} {
			if _, status := f.dial(c.id, c.page); status != c.want {
				f.Errorf("%q from %s: status %d, want %d", c.id, c.page, status, c.want)
			}
		}
	})
}

// A function that knows the pool, and what stands between its braces.
var handler = regexp.MustCompile(`(?ms)^func \(s \*Server\) (\w+)\([^\n]*\n(.*?)^}`)

func TestHandlersHaveAtMostTenLines(t *testing.T) {
	lines := make(map[string]int)
	for _, file := range []string{"gorilla.go", "coder.go", "gws.go", "gobwas.go", "melody.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range handler.FindAllSubmatch(source, -1) {
			lines[string(m[1])] = bytes.Count(m[2], []byte("\n"))
		}
	}
	lines["Gws"] += lines["readGws"]
	lines["GwsGo"] += lines["readGws"]
	for _, name := range []string{"Gorilla", "Coder", "Gws", "GwsGo", "Gobwas", "Melody"} {
		if n := lines[name]; n < 3 || n > 10 {
			t.Errorf("%s has %d lines", name, n)
		}
	}
}
