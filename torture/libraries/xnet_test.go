package libraries

import (
	"net"
	"net/http"

	"golang.org/x/net/websocket"
)

type xnetSocket struct{ ws *websocket.Conn }

func xnetHandler(h *host) http.Handler {
	return websocket.Handler(func(ws *websocket.Conn) {
		h.serve(h.join(xnetSocket{ws}, ws.Request()))
	})
}

func (s xnetSocket) conn() net.Conn                                { return s.ws }
func (s xnetSocket) close() error                                  { return s.ws.Close() }
func (s xnetSocket) begin([]byte) (func(tail []byte) error, error) { return nil, errUnable }
func (s xnetSocket) write(p []byte, _ int) error                   { return websocket.Message.Send(s.ws, p) }

func (s xnetSocket) read(received func(p []byte) bool) {
	for {
		var p []byte
		if err := websocket.Message.Receive(s.ws, &p); err != nil || !received(p) {
			return
		}
	}
}

func (s xnetSocket) ping(p []byte) error {
	ping := websocket.Codec{Marshal: func(any) ([]byte, byte, error) { return p, websocket.PingFrame, nil }}
	return ping.Send(s.ws, nil)
}
