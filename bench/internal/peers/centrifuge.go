package peers

import (
	"bytes"
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/centrifugal/centrifuge"
)

// centrifugal is a centrifuge node with the memory broker. The server subscribes each
// user to the user's own channel and to a channel for everyone. Publish has no
// backpressure: it disconnects a client whose queue is full. The queue is 16 MiB (the
// default is 1 MiB), so that saturation alone disconnects nobody.
type centrifugal struct {
	node      *centrifuge.Node
	connected atomic.Int64
}

const everyone = "everyone"

func newCentrifuge() (Peer, error) {
	node, err := centrifuge.New(centrifuge.Config{ClientQueueMaxSize: 16 << 20})
	if err != nil {
		return nil, err
	}
	c := &centrifugal{node: node}
	node.OnConnecting(func(ctx context.Context, _ centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		credentials, _ := centrifuge.GetCredentials(ctx)
		return centrifuge.ConnectReply{
			Subscriptions: map[string]centrifuge.SubscribeOptions{credentials.UserID: {}, everyone: {}},
		}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		c.connected.Add(1)
		client.OnDisconnect(func(centrifuge.DisconnectEvent) { c.connected.Add(-1) })
	})
	return c, node.Run()
}

func (c *centrifugal) Handler() http.Handler {
	ws := centrifuge.NewWebsocketHandler(c.node, centrifuge.WebsocketConfig{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credentials := &centrifuge.Credentials{UserID: r.FormValue("id")}
		ws.ServeHTTP(w, r.WithContext(centrifuge.SetCredentials(r.Context(), credentials)))
	})
}

func (c *centrifugal) Push(user int, payload []byte) error {
	_, err := c.node.Publish(ids[user], bytes.Clone(payload))
	return err
}

func (c *centrifugal) Broadcast(payload []byte) error {
	_, err := c.node.Publish(everyone, bytes.Clone(payload))
	return err
}

func (c *centrifugal) Len() int { return int(c.connected.Load()) }

func (c *centrifugal) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = c.node.Shutdown(ctx)
}
