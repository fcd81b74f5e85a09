package adapters

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	coder "github.com/coder/websocket"
	"github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	"github.com/nulijiabei/gcpool"
)

// TestSubprotocolOfOtherLibraries: a library chooses a subprotocol, and tells its handler and the
// client which, with Upgrade around it or not.
func TestSubprotocolOfOtherLibraries(t *testing.T) {
	offers := []string{"chat.v2", "chat.v1"}
	chosen := make(chan string, 1)
	upgrader := websocket.Upgrader{Subprotocols: offers}
	gwsUpgrader := gws.NewUpgrader(new(gws.BuiltinEventHandler), &gws.ServerOption{SubProtocols: offers})
	for name, h := range map[string]http.HandlerFunc{
		"gorilla": func(w http.ResponseWriter, r *http.Request) {
			if ws, err := upgrader.Upgrade(w, r, nil); err == nil {
				chosen <- ws.Subprotocol()
				ws.Close()
			}
		},
		"coder": func(w http.ResponseWriter, r *http.Request) {
			if ws, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: offers}); err == nil {
				chosen <- ws.Subprotocol()
				ws.CloseNow()
			}
		},
		"gws": func(w http.ResponseWriter, r *http.Request) {
			if ws, err := gwsUpgrader.Upgrade(w, r); err == nil {
				chosen <- ws.SubProtocol()
				ws.NetConn().Close()
			}
		},
	} {
		for around, server := range map[string]*httptest.Server{
			"alone": httptest.NewServer(h), "under Upgrade": httptest.NewServer(gcpool.Upgrade(h)),
		} {
			t.Run(name+" "+around, func(t *testing.T) {
				t.Cleanup(server.Close)
				dialer := websocket.Dialer{Subprotocols: []string{"chat.v1", "chat.v2"}}
				ws, _, err := dialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), http.Header{"Origin": {server.URL}})
				if err != nil {
					t.Fatal(err)
				}
				defer ws.Close()
				if got := <-chosen; got != ws.Subprotocol() || got == "" {
					t.Errorf("the handler has %q, and the client %q", got, ws.Subprotocol())
				}
			})
		}
	}
}
