// Package migrating tests the code of docs/migrating.md over real connections:
// the servers before and after do the same for the same clients.
package migrating

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	chatafter "github.com/nulijiabei/gcpool/docs/migrating/hub/after"
	chatbefore "github.com/nulijiabei/gcpool/docs/migrating/hub/before"
	chatkept "github.com/nulijiabei/gcpool/docs/migrating/hub/kept"
	melodyafter "github.com/nulijiabei/gcpool/docs/migrating/melody/after"
	melodybefore "github.com/nulijiabei/gcpool/docs/migrating/melody/before"
	melodykept "github.com/nulijiabei/gcpool/docs/migrating/melody/kept"
	originalafter "github.com/nulijiabei/gcpool/docs/migrating/original/after"
	originalbefore "github.com/nulijiabei/gcpool/docs/migrating/original/before"
	"golang.org/x/net/websocket"
)

const patience = 20 * time.Second // for what should come at once

// serve returns the address of a server, for ws.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http", "ws", 1)
}

// dial connects a user, from a page of the server's own.
func dial(t *testing.T, address, id string) *websocket.Conn {
	t.Helper()
	ws, err := dialFrom(address, strings.Replace(address, "ws", "http", 1), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	ws.SetDeadline(time.Now().Add(patience))
	return ws
}

func dialFrom(address, page, id string) (*websocket.Conn, error) {
	config, err := websocket.NewConfig(address, page)
	if err != nil {
		return nil, err
	}
	config.Header.Set("Cookie", "session=session-of-"+id)
	return websocket.DialConfig(config)
}

func send(t *testing.T, ws *websocket.Conn, text string) {
	t.Helper()
	if err := websocket.Message.Send(ws, text); err != nil {
		t.Fatal(err)
	}
}

func wantNext(t *testing.T, ws *websocket.Conn, want string) {
	t.Helper()
	var got string
	if err := websocket.Message.Receive(ws, &got); err != nil || got != want {
		t.Fatalf("received %q, %v; want %q", got, err, want)
	}
}

// stop ends a server while clients read, as browsers do.
func stop(t *testing.T, end func(context.Context) error, clients ...*websocket.Conn) {
	t.Helper()
	for _, ws := range clients {
		go func() {
			var text string
			for websocket.Message.Receive(ws, &text) == nil {
			}
			ws.Close()
		}()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := end(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// startBefore has http.DefaultServeMux serve, which it can only once.
var startBefore = sync.OnceFunc(originalbefore.Start)

func TestOriginal(t *testing.T) {
	after, err := originalafter.New()
	if err != nil {
		t.Fatal(err)
	}
	startBefore()
	for name, h := range map[string]http.Handler{"before": http.DefaultServeMux, "after": after.Routes()} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, h) + "/hello?id=alice"
			alice := dial(t, address, "alice")
			send(t, alice, "one\n")
			alice.SetReadDeadline(time.Now().Add(patience))
			var got string
			if err := websocket.Message.Receive(alice, &got); err != nil || strings.TrimRight(got, "\n") != "one" {
				t.Fatalf("received %q, %v", got, err)
			}
			again := dial(t, address, "alice")
			send(t, again, "two\n")
			if err := websocket.Message.Receive(again, &got); err != nil || strings.TrimRight(got, "\n") != "two" {
				t.Fatalf("after a reconnect received %q, %v", got, err)
			}
			if name == "after" {
				stop(t, after.Stop, alice, again)
			}
		})
	}
}

func TestHub(t *testing.T) {
	kept, err := chatkept.NewChat()
	if err != nil {
		t.Fatal(err)
	}
	after, err := chatafter.NewChat()
	if err != nil {
		t.Fatal(err)
	}
	for name, chat := range map[string]struct {
		http.Handler
		stop func(context.Context) error
	}{"before": {chatbefore.NewHub(), nil}, "kept": {kept.Handler(), kept.Stop}, "after": {after.Handler(), after.Stop}} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, chat)
			alice := dial(t, address, "alice")
			send(t, alice, "anybody here?")
			wantNext(t, alice, "anybody here?")
			bob := dial(t, address, "bob")
			send(t, bob, "hello")
			wantNext(t, alice, "hello")
			wantNext(t, bob, "hello")
			send(t, alice, "how are you?")
			wantNext(t, alice, "how are you?")
			wantNext(t, bob, "how are you?")

			send(t, bob, strings.Repeat("x", 513)) // more than is allowed
			for err := error(nil); err == nil; {   // bob is thrown out
				var text string
				err = websocket.Message.Receive(bob, &text)
				if len(text) > 512 {
					t.Fatal("a message of more than 512 bytes was passed on")
				}
			}
			if _, err := dialFrom(address, "https://elsewhere.example", "alice"); err == nil {
				t.Error("a page of another site was let in")
			}
			if chat.stop != nil {
				stop(t, chat.stop, alice)
			}
		})
	}
}

func TestMelody(t *testing.T) {
	kept, err := melodykept.New()
	if err != nil {
		t.Fatal(err)
	}
	after, err := melodyafter.New()
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]http.Handler{
		"before": melodybefore.New(), "kept": kept.Handler(), "after": after.Handler(),
	} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, h)
			alice, bob := dial(t, address, "alice"), dial(t, address, "bob")
			for _, ws := range []*websocket.Conn{alice, bob} { // her own first: then she is connected
				send(t, ws, "alice hello")
				wantNext(t, alice, "hello")
			}
			send(t, bob, "bob note to myself")
			wantNext(t, bob, "note to myself")
			send(t, alice, "bob how are you?")
			wantNext(t, bob, "how are you?")
			if ws, err := dialFrom(address, strings.Replace(address, "ws", "http", 1), ""); err == nil {
				ws.Close()
				t.Error("a stranger was let in")
			}
			if _, err := dialFrom(address, "https://elsewhere.example", "alice"); (err == nil) != (name == "before") {
				t.Errorf("a page of another site: %v", err)
			}
			if name == "kept" {
				again := dial(t, address, "alice")
				var text string
				for websocket.Message.Receive(alice, &text) == nil { // until the newer one has replaced it
				}
				send(t, bob, "alice welcome back")
				wantNext(t, again, "welcome back")
				stop(t, kept.Stop, again, bob)
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := after.Push(ctx, "carol", []byte("hello")); !errors.Is(err, gcpool.ErrNotConnected) {
		t.Errorf("push to a user who is away: %v", err)
	}
}
