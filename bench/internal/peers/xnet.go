package peers

import (
	"net/http"

	"golang.org/x/net/websocket"
)

// xnet is what you would write without a library: the producer finds the connection and
// writes to it.
type xnet struct{ hub[*websocket.Conn] }

func newXnet() (Peer, error) { return new(xnet), nil }

func (x *xnet) Handler() http.Handler { return serveXnet(&x.hub) }

func (x *xnet) Push(user int, payload []byte) error {
	ws, ok := x.get(user)
	if !ok {
		return errGone
	}
	_, err := ws.Write(payload)
	return err
}

func (x *xnet) Broadcast(payload []byte) error {
	for _, ws := range x.all() {
		if _, err := ws.Write(payload); err != nil {
			return err
		}
	}
	return nil
}

func (x *xnet) Close() {
	for _, ws := range x.all() {
		_ = ws.Close()
	}
}
