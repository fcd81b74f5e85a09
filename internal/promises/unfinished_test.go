package promises

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestPongsDoNotProlongAnUnfinishedMessage: the library answers the peer's pings but leaves its
// own message unfinished. The pongs must not count as progress of that message.
func TestPongsDoNotProlongAnUnfinishedMessage(t *testing.T) {
	_, conns, stream := started(t, gcpool.WithWriteTimeout(500*time.Millisecond))
	addr := serve(t, gcpool.Upgrade, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x01\x01a")
		conns.Add("a", gcpool.Conn(r))
		for ping := make([]byte, 6); ; {
			if _, err := io.ReadFull(conn, ping); err != nil {
				return
			}
			conn.Write([]byte("\x8a\x00"))
		}
	}))
	peer, r := handshake(t, addr, "", 0)
	eventually(t, "added", func() bool { return conns.Len() == 1 })
	go io.Copy(io.Discard, r)
	go func() {
		for err := error(nil); err == nil; time.Sleep(50 * time.Millisecond) {
			_, err = peer.Write([]byte("\x89\x80\x00\x00\x00\x00"))
		}
	}()
	outcome := make(chan error, 1)
	go func() { outcome <- stream.Deliver(t.Context(), "a", []byte("x")) }()
	select {
	case err := <-outcome:
		if err == nil {
			t.Error("the pool wrote into the unfinished message")
		}
	case <-time.After(20 * time.Second):
		t.Error("the pool still waits after 40 times the write timeout")
	}
}
