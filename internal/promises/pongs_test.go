package promises

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"golang.org/x/net/websocket"
)

// TestPeerThatClosesAndAnswersPings: a client that starts the close keeps
// answering pings until it gets the server's close frame (RFC 6455 section
// 5.5.2). While much data is on its way to the client, these pongs must not
// make the system reset the connection, which would destroy that frame.
func TestPeerThatClosesAndAnswersPings(t *testing.T) {
	_, conns, stream := started(t)
	addr := serve(t, nil, gcpool.Upgrade(websocket.Handler(func(ws *websocket.Conn) {
		conns.Add("a", ws)
		defer conns.Del("a")
		io.Copy(io.Discard, ws)
	})))
	peer, in := handshake(t, addr, "", 32<<10)
	peer.SetDeadline(time.Now().Add(20 * time.Second))
	eventually(t, "connected", func() bool { return conns.Len() == 1 })
	for range 60 {
		add(t, stream, "a", string(bytes.Repeat([]byte("x"), 9_999)))
	}
	eventually(t, "the socket is full", func() bool { return !conns.Info("a").Stalled.IsZero() })
	peer.Write([]byte("\x88\x82\x00\x00\x00\x00\x03\xe8"))
	go func() {
		for err := error(nil); err == nil; time.Sleep(time.Millisecond) {
			_, err = peer.Write([]byte("\x8a\x80\x00\x00\x00\x00"))
		}
	}()
	for messages := 0; ; messages++ {
		head, err := in.Peek(4)
		if err != nil && len(head) < 2 {
			t.Fatalf("after %d messages: %v", messages, err)
		}
		if head[0] == 0x88 {
			return
		}
		if _, err := io.CopyN(io.Discard, in, 4+int64(head[2])<<8+int64(head[3])); err != nil {
			t.Fatalf("after %d messages: %v", messages, err)
		}
		time.Sleep(time.Millisecond)
	}
}
