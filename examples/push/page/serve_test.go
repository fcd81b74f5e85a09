package page

import (
	"net"
	"testing"
)

func TestLinkCanBeOpened(t *testing.T) {
	t.Parallel()
	listening := &net.TCPAddr{IP: net.IPv6zero, Port: 80}
	for addr, want := range map[string]string{
		"localhost:0": "http://localhost:80", ":80": "http://localhost:80", "0.0.0.0:80": "http://localhost:80",
		"[::]:80": "http://localhost:80", "[::1]:80": "http://[::1]:80", "192.0.2.1:80": "http://192.0.2.1:80",
	} {
		if got := Link(addr, listening); got != want {
			t.Errorf("Link(%q) = %q, want %q", addr, got, want)
		}
	}
}
