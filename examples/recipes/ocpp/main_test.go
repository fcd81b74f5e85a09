package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/examples/recipes/internal/try"
	"golang.org/x/net/websocket"
)

func TestMain(m *testing.M) { try.Main(m, main) }

// dial connects as a charge point that has a key and offers a subprotocol.
func dial(t *testing.T, url, id, key, protocol string) (*websocket.Conn, error) {
	t.Helper()
	config, err := websocket.NewConfig("ws"+strings.TrimPrefix(url, "http")+"/ocpp/"+id, url)
	if err != nil {
		t.Fatal(err)
	}
	config.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("CP-1:"+key)))
	if protocol != "" {
		config.Protocol = []string{protocol}
	}
	ws, err := websocket.DialConfig(config)
	if err == nil {
		t.Cleanup(func() { ws.Close() })
		ws.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return ws, err
}

func TestCallsAndAnswersPassBothWays(t *testing.T) {
	t.Parallel()
	p := try.Start(t, []string{"-addr", "127.0.0.1:0"}, "SERVICE_KEY=secret")
	url := p.Addr()
	ws, err := dial(t, url, "CP-1", "demo-key", "ocpp1.6")
	if err != nil {
		t.Fatal(err)
	}
	// What a charge point asks is answered.
	websocket.Message.Send(ws, `[2,"7","BootNotification",{}]`)
	var answer string
	if err := websocket.Message.Receive(ws, &answer); err != nil || answer != `[4,"7","NotImplemented","",{}]` {
		t.Fatalf("the answer is %q, %v", answer, err)
	}
	// What it is asked it answers, call by call, and answers to no call do no harm.
	go func() {
		for {
			var m []json.RawMessage
			if websocket.JSON.Receive(ws, &m) != nil {
				return
			}
			websocket.Message.Send(ws, `[3,"guess",{"status":"Rejected"}]`)
			websocket.Message.Send(ws, fmt.Sprintf(`[3,%s,{"action":%s,"asked":%s}]`, m[1], m[2], m[3]))
		}
	}()
	for i := range 10 {
		status, text := try.Do(t, "POST", url+"/call/CP-1/Reset", try.Bearer("secret"), fmt.Sprintf(`{"n":%d}`, i))
		if want := fmt.Sprintf(`{"action":"Reset","asked":{"n":%d}}`, i); status != 200 || text != want {
			t.Errorf("call %d: %d %s", i, status, text)
		}
	}
	for _, c := range []struct {
		id, key, body string
		status        int
	}{
		{"CP-2", "secret", "{}", 503},
		{"CP-1", "secret", "{", 400},
		{"CP-1", "guess", "{}", 401},
	} {
		if status, text := try.Do(t, "POST", url+"/call/"+c.id+"/Reset", try.Bearer(c.key), c.body); status != c.status {
			t.Errorf("%v: %d %s", c, status, text)
		}
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	url := try.Start(t, []string{"-addr", "127.0.0.1:0"}, "SERVICE_KEY=secret").Addr()
	for _, c := range []struct{ id, key, protocol string }{
		{"CP-1", "guess", "ocpp1.6"},
		{"CP-1", "", "ocpp1.6"},
		{"CP-2", "demo-key", "ocpp1.6"}, // the key of another
	} {
		if _, err := dial(t, url, c.id, c.key, c.protocol); err == nil {
			t.Errorf("%v is let in", c)
		}
	}
	for _, protocol := range []string{"", "ocpp9.9"} {
		ws, err := dial(t, url, "CP-1", "demo-key", protocol)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ws.Read(make([]byte, 1)); err == nil {
			t.Errorf("with the subprotocol %q it is served", protocol)
		}
	}
	if status, _ := try.Do(t, "GET", url+"/ocpp/CP-1", http.Header{}, ""); status == 200 {
		t.Error("without a handshake it is served")
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	try.AddressInUse(t, "-addr")
}
