package upgrade

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/nettest"
)

// TestControlFramesOfThePoolWaitForTheHandshake: the pool's control frames wait for the
// response to the handshake, and leave when it ends, even if nothing is written afterwards.
func TestControlFramesOfThePoolWaitForTheHandshake(t *testing.T) {
	const switching, refused = "HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n\r\n"
	ping := func(c *Conn) { Sender{c}.Ping() }
	goodbye := func(c *Conn) { Sender{c}.Goodbye(frame.StatusGoingAway) }
	whole := func(conn net.Conn) net.Conn { return conn }
	unhalved := func(conn net.Conn) net.Conn { return struct{ net.Conn }{conn} }
	for _, test := range []struct {
		what string
		pool func(*Conn)
		side func(net.Conn) net.Conn
		says string
		want string
	}{
		{"a ping", ping, whole, switching, switching + "\x89\x00"},
		{"a goodbye", goodbye, whole, switching, switching + close1001},
		{"a ping, and no WebSocket", ping, whole, refused, refused},
		{"a goodbye, and no WebSocket", goodbye, whole, refused, refused},
		{"a goodbye, no WebSocket, and no halves", goodbye, unhalved, refused, refused},
	} {
		for n := 1; ; n++ {
			conn, peer := nettest.TCP(t)
			c := &Conn{Conn: test.side(conn)}
			test.pool(c)
			for _, b := range []byte(test.says) {
				if _, err := c.Write([]byte{b}); err != nil {
					t.Fatalf("%s: response: %v", test.what, err)
				}
			}
			expect(t, peer, test.what, test.want)
			if test.says == switching {
				break
			}
			start := time.Now()
			c.Close()
			rest, err := io.ReadAll(peer)
			took := time.Since(start)
			if len(rest) > 0 || err != nil {
				t.Errorf("%s: after the response %q, %v", test.what, rest, err)
			}
			if took < closeGrace/2 {
				break
			}
			if n == 5 { // the machine may stall that long, but not each time
				t.Errorf("%s: closed after %v, as if there were a close handshake", test.what, took)
				break
			}
		}
	}
}
