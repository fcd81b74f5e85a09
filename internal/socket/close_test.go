package socket

import (
	"crypto/tls"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/nettest"
)

// TestCloseWaitsForNoAlert: unlike tls.Conn.Close, which waits 5 s for a peer that reads
// nothing, ours must not wait.
func TestCloseWaitsForNoAlert(t *testing.T) {
	conn, peer := nettest.TCP(t)
	https := httptest.NewTLSServer(nil)
	defer https.Close()
	server := tls.Server(conn, &tls.Config{Certificates: https.TLS.Certificates})
	go tls.Client(peer, &tls.Config{InsecureSkipVerify: true}).Handshake()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // until the socket is full, and still full a moment later
		conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		conn.Write(make([]byte, 16<<20))
	}
	conn.SetWriteDeadline(time.Time{})
	start := time.Now()
	if Close(server); time.Since(start) > 4*time.Second {
		t.Errorf("Close has taken %v", time.Since(start))
	}
}
