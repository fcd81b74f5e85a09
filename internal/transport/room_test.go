package transport

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
)

// TestControlFrameWaitsForWhoReads, however slowly; one that reads nothing is closed.
func TestControlFrameWaitsForWhoReads(t *testing.T) {
	const patience = 300 * time.Millisecond
	c, peer := upgradedPair(t)
	peer.(*net.TCPConn).SetReadBuffer(64 << 10)
	c.Conn.(*net.TCPConn).SetWriteBuffer(4 << 20)
	data := frame.Append(nil, frame.Binary, make([]byte, 16<<20), false)
	for n, full := 0, 0; full < 3; { // also a moment later
		m := writeNow(c.Conn, data[n:])
		if n += m; m > 0 {
			full = 0
		}
		full++
		time.Sleep(100 * time.Millisecond)
	}
	c.turn = controls // as release leaves it
	over := make(chan bool)
	go func() {
		c.waitForRoom([]byte("\x8a\x00"), patience)
		close(over)
	}()
	for end := time.Now().Add(3 * patience); time.Now().Before(end); time.Sleep(patience / 30) {
		if _, err := io.ReadFull(peer, make([]byte, 16<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if c.Ending() {
		t.Fatal("closed, though the peer reads")
	}
	if c.acked().left < 0 {
		t.Skip("this system does not tell what a peer has acknowledged")
	}
	select {
	case <-over:
		t.Skip("the socket had room too soon")
	default:
	}
	<-over // the peer has stopped
	if !c.Ending() {
		t.Error("open, though the peer reads nothing")
	}
}
