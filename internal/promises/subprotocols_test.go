package promises

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// agreed connects with the subprotocols that a client offers. It returns the subprotocol in the
// response to the client, and those that the handler sees.
func agreed(t *testing.T, addr string, offered ...string) (told, seen string) {
	t.Helper()
	config, err := websocket.NewConfig("ws://"+addr+"/", "http://"+addr)
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol = offered
	ws, err := config.DialContext(t.Context())
	if err != nil {
		t.Fatalf("offering %q: %v", offered, err)
	}
	defer ws.Close()
	if err := websocket.Message.Receive(ws, &seen); err != nil {
		t.Fatal(err)
	}
	return strings.Join(config.Protocol, " "), seen // still as offered, if none was agreed on
}

// protocols sends its client the subprotocols that were agreed on.
var protocols = websocket.Handler(func(ws *websocket.Conn) { websocket.Message.Send(ws, fmt.Sprint(ws.Config().Protocol)) })

// TestNoSubprotocolIsChosenThatNobodyNamed: if the server names no subprotocol, none is
// chosen, however many the client offers.
func TestNoSubprotocolIsChosenThatNobodyNamed(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, websocket.Server{Handshake: gcpool.SameOrigin, Handler: protocols})
		for _, offered := range []string{"", "chat\n", "chat, log\n", "chat\nSec-WebSocket-Protocol: log\n"} {
			if offered != "" {
				offered = "Sec-WebSocket-Protocol: " + offered
			}
			resp, r := opens(t, addr, "GET / HTTP/1.1", "Connection: Upgrade\nUpgrade: websocket\n"+offered+version+key)
			if got := resp.Header["Sec-Websocket-Protocol"]; resp.StatusCode != http.StatusSwitchingProtocols || got != nil {
				t.Errorf("%q: %s, and told %q", offered, resp.Status, got)
			} else if _, text, _ := frame(r); text != "[]" {
				t.Errorf("%q: the handler sees %s", offered, text)
			}
		}
	})
}

// TestSubprotocolsChoosesTheFirstOfTheServers: of the subprotocols that both sides
// name, the server's first is chosen.
func TestSubprotocolsChoosesTheFirstOfTheServers(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, websocket.Server{
			Handshake: gcpool.Subprotocols(gcpool.SameOrigin, "chat.v2", "chat.v1"), Handler: protocols})
		for _, test := range []struct{ offered, want string }{
			{"", ""},
			{"Sec-WebSocket-Protocol: chat.v1\n", "chat.v1"},
			{"Sec-WebSocket-Protocol: chat.v1, chat.v2\n", "chat.v2"},
			{"Sec-WebSocket-Protocol: log,chat.v1 ,\tx\n", "chat.v1"},
			{"Sec-WebSocket-Protocol: log\nSec-WebSocket-Protocol: chat.v1\n", "chat.v1"},
			{"Sec-WebSocket-Protocol: log\n", ""},
			{"Sec-WebSocket-Protocol: log, CHAT.V1\n", ""},
		} {
			resp, r := opens(t, addr, "GET / HTTP/1.1", "Connection: Upgrade\nUpgrade: websocket\n"+test.offered+version+key)
			told := strings.Join(resp.Header["Sec-Websocket-Protocol"], " ")
			if resp.StatusCode != http.StatusSwitchingProtocols || told != test.want {
				t.Errorf("%q: %s, and told %q", test.offered, resp.Status, told)
			} else if _, text, _ := frame(r); text != "["+test.want+"]" {
				t.Errorf("%q: the handler sees %s", test.offered, text)
			}
		}
	})
}

// TestSubprotocolsLeavesNothingOfWhatWasOffered: the application's own handshake admits a client
// even though the server names none of its subprotocols. The handler must see none of them.
func TestSubprotocolsLeavesNothingOfWhatWasOffered(t *testing.T) {
	own := func(*websocket.Config, *http.Request) error { return nil }
	addr := serve(t, nil, websocket.Server{Handshake: gcpool.Subprotocols(own, "chat"), Handler: protocols})
	if _, seen := agreed(t, addr, "log", "trace"); seen != "[]" {
		t.Errorf("the handler sees %s", seen)
	}
}

// TestSubprotocolsOfAClient: x/net's client checks the subprotocol in the response.
func TestSubprotocolsOfAClient(t *testing.T) {
	both(t, func(t *testing.T, wrap wrapper) {
		addr := serve(t, wrap, websocket.Server{Handshake: gcpool.Subprotocols(nil, "chat.v2", "chat.v1"), Handler: protocols})
		for _, test := range []struct{ offered, want string }{{"chat.v1 chat.v2", "chat.v2"}, {"log chat.v1", "chat.v1"}} {
			if told, seen := agreed(t, addr, strings.Fields(test.offered)...); told != test.want || seen != "["+test.want+"]" {
				t.Errorf("offering %s: told %q, and the handler sees %s", test.offered, told, seen)
			}
		}
		if _, seen := agreed(t, addr, "log"); seen != "[]" {
			t.Errorf("offering an unknown one: the handler sees %s", seen)
		}
		if _, seen := agreed(t, addr); seen != "[]" {
			t.Errorf("offering none: the handler sees %s", seen)
		}
	})
}

// TestSubprotocolsRefusesWhomItsHandshakeDoes: Subprotocols refuses the requests that
// its handshake refuses. A nil handshake is SameOrigin.
func TestSubprotocolsRefusesWhomItsHandshakeDoes(t *testing.T) {
	own := errors.New("not signed in")
	for _, test := range []struct {
		handshake func(*websocket.Config, *http.Request) error
		origin    string
		ok        bool
	}{
		{nil, "http://example.com", true},
		{nil, "http://evil.example", false},
		{gcpool.AllowOrigins("app.example").Handshake, "http://app.example", true},
		{gcpool.AllowOrigins("app.example").Handshake, "http://evil.example", false},
		{func(*websocket.Config, *http.Request) error { return own }, "http://example.com", false},
	} {
		req, _ := http.NewRequest(http.MethodGet, "http://example.com/", nil)
		req.Header = http.Header{"Origin": {test.origin}, "Sec-Websocket-Protocol": {"chat"}}
		config := &websocket.Config{Protocol: []string{"chat", "offered"}}
		err := gcpool.Subprotocols(test.handshake, "chat")(config, req)
		if (err == nil) != test.ok || test.ok && fmt.Sprint(config.Protocol) != "[chat]" {
			t.Errorf("%s: %v, and %q is chosen", test.origin, err, config.Protocol)
		}
	}
}
