package upgrade

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/socket"
)

// TestControlFrameWaitsForWhoReads: a control frame waits for a peer that reads, however
// slowly. A peer that reads nothing is closed.
func TestControlFrameWaitsForWhoReads(t *testing.T) {
	t.Parallel()
	const patience = 4 * time.Second // longer than a busy machine keeps the peer from reading
	c, peer := upgradedPair(t)
	if socket.Acknowledged(c.Conn).Left < 0 {
		t.Skip("this system does not report what a peer has acknowledged")
	}
	peer.(*net.TCPConn).SetReadBuffer(64 << 10)
	go c.Conn.Write(make([]byte, 64<<20)) // any other write waits for this one
	if _, err := peer.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	c.turns.turn = controls // the state in which release leaves it
	over := make(chan bool)
	go func() {
		c.waitForRoom([]byte("\x8a\x00"), patience)
		close(over)
	}()
	for end := time.Now().Add(2 * patience); time.Now().Before(end); time.Sleep(patience / 50) {
		if _, err := io.ReadFull(peer, make([]byte, 16<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if c.Closed() {
		t.Fatal("closed, though the peer reads")
	}
	<-over // ends because the peer no longer reads
	if !c.Closed() {
		t.Error("open, though the peer reads nothing")
	}
}
