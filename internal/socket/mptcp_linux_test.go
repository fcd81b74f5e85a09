package socket

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestMultipathTCPHasNoStateOfItsOwn: for Multipath TCP, TCP_INFO describes only the first
// path, which may have ended while the connection lives on.
func TestMultipathTCPHasNoStateOfItsOwn(t *testing.T) {
	var config net.ListenConfig
	config.SetMultipathTCP(true)
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dialer net.Dialer
	dialer.SetMultipathTCP(true)
	peer, err := dialer.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if multi, err := conn.(*net.TCPConn).MultipathTCP(); err != nil || !multi {
		t.Skip("this system has no Multipath TCP", err)
	}
	if _, err := conn.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(peer, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if ack := Acknowledged(conn); ack.Acked != 0 || ack.Left < 0 {
		t.Errorf("acknowledged: %+v", ack)
	}
	if Gone(conn) {
		t.Error("gone before it left")
	}
	peer.Write([]byte("x"))
	peer.Close()
	for end := time.Now().Add(20 * time.Second); !Gone(conn); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never gone while a byte waits")
		}
	}
}
