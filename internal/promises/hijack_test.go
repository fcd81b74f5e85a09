package promises

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestUpgradeOverHTTP2SaysWhy: an HTTP/2 stream cannot be hijacked (RFC
// 8441), so a client that asks for a WebSocket there gets an error that
// says so. net/http reads the setting when the process starts.
func TestUpgradeOverHTTP2SaysWhy(t *testing.T) {
	const setting = "http2xconnect=1"
	if os.Getenv("GODEBUG") != setting {
		again := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
		again.Env = append(os.Environ(), "GODEBUG="+setting)
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	server := httptest.NewUnstartedServer(gcpool.Upgrade(http.NotFoundHandler()))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	conn, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	var head []byte // RFC 7541 section 6.2.2
	for _, field := range []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/", ":authority", "x"} {
		if field[0] == ':' {
			head = append(head, 0)
		}
		head = append(append(head, byte(len(field))), field...)
	}
	fmt.Fprintf(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"+
		"\x00\x00%c\x01\x04\x00\x00\x00\x01%s", len(head), head)
	for in := bufio.NewReader(conn); ; {
		head := make([]byte, 9) // RFC 9113 section 4.1
		if _, err := io.ReadFull(in, head); err != nil {
			t.Fatal(err)
		}
		payload := make([]byte, binary.BigEndian.Uint32(head)>>8)
		if _, err := io.ReadFull(in, payload); err != nil {
			t.Fatal(err)
		}
		switch {
		case head[3] == 1 && payload[0] != 0x8e: // the status 500, RFC 7541 appendix A
			t.Errorf("the header is %x", payload)
		case head[3] == 0:
			if !strings.Contains(string(payload), "HTTP/2") {
				t.Errorf("the body is %q", payload)
			}
			return
		}
	}
}

// TestHijackTwiceOrLate: a connection can be hijacked only once, and
// not after its handler has returned.
func TestHijackTwiceOrLate(t *testing.T) {
	late := make(chan http.ResponseWriter, 1)
	addr := serve(t, gcpool.Upgrade, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Late") != "" {
			late <- w
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("the second Hijack: %v", err)
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi")
		conn.Close()
	}))
	if got := ask(t, addr, http.MethodGet, ""); !strings.HasSuffix(got, "\x81\x02hi\x88\x02\x03\xe8") {
		t.Errorf("got %q", got)
	}
	if got := ask(t, addr, http.MethodGet, "Late: yes\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("got %q", got)
	}
	if conn, _, err := http.NewResponseController(<-late).Hijack(); err == nil {
		t.Errorf("a Hijack after the handler has returned gives %v", conn)
	}
}
