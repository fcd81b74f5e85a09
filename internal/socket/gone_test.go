//go:build unix && !aix

package socket

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/nettest"
)

// TestGone: a peer has gone once it has closed or reset its connection. A peer that is silent,
// or whose bytes wait to be read, has not gone. The check itself reads nothing.
func TestGone(t *testing.T) {
	for what, leave := range map[string]func(peer net.Conn){
		"closed": func(peer net.Conn) { peer.Close() },
		"reset": func(peer net.Conn) {
			peer.(*net.TCPConn).SetLinger(0)
			peer.Close()
		},
	} {
		conn, peer := nettest.TCP(t)
		if Gone(conn) {
			t.Errorf("%s: gone before it left", what)
		}
		peer.Write([]byte("x"))
		b := make([]byte, 1)
		if conn.SetReadDeadline(time.Now().Add(20 * time.Second)); Gone(conn) {
			t.Errorf("%s: gone while a byte waits", what)
		}
		if n, err := conn.Read(b); n != 1 || err != nil {
			t.Errorf("%s: read %d, %v", what, n, err)
		}
		leave(peer)
		for end := time.Now().Add(20 * time.Second); !Gone(conn); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: never gone", what)
			}
		}
	}
	if runtime.GOOS == "linux" {
		conn, peer := nettest.TCP(t)
		peer.Write([]byte("x"))
		peer.Close()
		for end := time.Now().Add(20 * time.Second); !Gone(conn); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("never gone while a byte waits")
			}
		}
	}
	ours, peer := net.Pipe()
	if peer.Close(); Gone(ours) {
		t.Error("a pipe, which is no socket, is reported as gone")
	}
}
