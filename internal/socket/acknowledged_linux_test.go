package socket

import (
	"io"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/nettest"
)

// TestAcknowledgedCountsBytes checks that the right field of TCP_INFO is read.
func TestAcknowledgedCountsBytes(t *testing.T) {
	conn, peer := nettest.TCP(t)
	before := Acknowledged(conn)
	if _, err := conn.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(peer, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	want := Ack{Acked: before.Acked + 1000}
	for end := time.Now().Add(20 * time.Second); Acknowledged(conn) != want && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if got := Acknowledged(conn); got != want {
		t.Errorf("acknowledged: %+v, want %+v", got, want)
	}
}
