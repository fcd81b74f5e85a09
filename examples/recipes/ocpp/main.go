// Ocpp calls charge points, which speak the subprotocol OCPP 1.6 over WebSocket: a JSON
// array for each call, and one for its answer. GraphQL and other subprotocols are similar.
//
//	SERVICE_KEY=secret go run ./examples/recipes/ocpp
//	go run ./examples/recipes/connect -basic CP-1:demo-key -protocol ocpp1.6 ws://localhost:8080/ocpp/CP-1
//	curl -i -H 'Authorization: Bearer secret' -d '{"type":"Soft"}' http://localhost:8080/call/CP-1/Reset
//
// The charge point prints [2,"<id>","Reset",{"type":"Soft"}]. Type [3,"<id>",{"status":"Accepted"}]
// there, with that id, and curl prints {"status":"Accepted"}.
package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/examples/recipes/internal/demo"
	"golang.org/x/net/websocket"
)

const (
	callType, resultType, errorType = "2", "3", "4"

	messageMax = 64 << 10
	patience   = time.Minute // for the answer to a call
)

var keys = map[string]string{"CP-1": "demo-key"} // yours come from a store

func main() { demo.Main("ocpp", serve) }

func serve(ctx context.Context, listener net.Listener) error {
	pool := gcpool.NewPool(gcpool.WithNewline(false))
	if err := pool.Register("points"); err != nil {
		return err
	}
	pool.Start()
	c := &center{conns: pool.GetConn("points"), stream: pool.GetStream("points")}
	mux := http.NewServeMux()
	ws := websocket.Server{Handshake: gcpool.Subprotocols(admit, "ocpp1.6"), Handler: c.connected}
	mux.Handle("GET /ocpp/{id}", gcpool.Upgrade(ws))
	mux.HandleFunc("POST /call/{id}/{action}", demo.Services(c.call))
	return demo.Serve(ctx, listener, mux, pool)
}

// admit lets in charge points with their keys. They are not browsers, and send no Origin.
func admit(_ *websocket.Config, r *http.Request) error {
	id, key, _ := r.BasicAuth()
	want, known := keys[id]
	if !known || id != r.PathValue("id") || subtle.ConstantTimeCompare([]byte(key), []byte(want)) == 0 {
		return errors.New("not a charge point, or the wrong key")
	}
	return nil
}

type center struct {
	conns  *gcpool.ConnPool
	stream *gcpool.StreamPool
	calls  sync.Map // by charge point and call, the chan []byte that waits for the answer
}

func (c *center) connected(ws *websocket.Conn) {
	id := ws.Request().PathValue("id")
	ws.MaxPayloadBytes = messageMax
	if len(ws.Config().Protocol) == 0 || c.conns.Add(id, ws) != nil {
		return // it does not offer ocpp1.6, or the server is shutting down
	}
	defer c.conns.Del(id)
	for {
		var m []json.RawMessage
		if err := websocket.JSON.Receive(ws, &m); err != nil || len(m) < 3 {
			return
		}
		switch string(m[0]) {
		case callType: // such as a BootNotification: your answer goes here
			c.stream.Add(id, fmt.Appendf(nil, `[%s,%s,"NotImplemented","",{}]`, errorType, m[1]))
		case resultType, errorType:
			if answer, ok := c.calls.LoadAndDelete(id + string(m[1])); ok {
				answer.(chan []byte) <- m[2]
			}
		}
	}
}

// call forwards a call to a charge point, and returns its answer to the service.
func (c *center) call(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, messageMax))
	if err != nil || !json.Valid(body) || !utf8.Valid(body) { // json.Valid lets any byte pass in a string
		http.Error(w, "no JSON, or too long", http.StatusBadRequest)
		return
	}
	id, number, answer := r.PathValue("id"), `"`+rand.Text()+`"`, make(chan []byte, 1)
	c.calls.Store(id+number, answer)
	defer c.calls.Delete(id + number)
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	action, _ := json.Marshal(r.PathValue("action")) // it cannot fail
	err = c.stream.Deliver(ctx, id, fmt.Appendf(nil, `[%s,%s,%s,%s]`, callType, number, action, body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	select {
	case result := <-answer:
		w.Write(result)
	case <-ctx.Done():
		http.Error(w, "no answer", http.StatusGatewayTimeout)
	}
}
