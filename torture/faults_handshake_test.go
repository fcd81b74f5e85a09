package torture

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/fault"
	"golang.org/x/net/websocket"
)

// drip sends a handshake one byte at a time. It returns the server's answer up to the
// empty line.
func drip(c *fault.Conn, path string, gap time.Duration) (answer string, err error) {
	request := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nUpgrade: websocket\r\n" +
		"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	for i := range len(request) {
		time.Sleep(gap)
		if _, err := c.Write([]byte{request[i]}); err != nil {
			return "", err
		}
	}
	for b := make([]byte, 1); !strings.HasSuffix(answer, "\r\n\r\n"); answer += string(b) {
		if _, err := io.ReadFull(c, b); err != nil {
			return answer, err
		}
	}
	return answer, nil
}

// TestFault21SlowHandshakes: a peer that is slower than the server's ReadHeaderTimeout never
// reaches the pool; a faster peer is served. Neither delays other peers. Upgrade removes the
// deadlines that net/http set, so they must not end the connection later.
func TestFault21SlowHandshakes(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		r := newRig(t, gcpool.WithHeartbeat(0))
		var in, out int
		for i := range 2 + rnd.IntN(3) {
			c, _ := r.dial()
			gap := time.Duration(5+rnd.IntN(30)) * time.Millisecond
			quick := rnd.IntN(2) == 0
			if in++; !quick {
				in--
				out++
				gap = time.Duration(100+rnd.IntN(3000)) * time.Millisecond
			}
			r.wg.Go(func() {
				defer c.Close()
				answer, err := drip(c.(*fault.Conn), fmt.Sprintf("/%v?id=slow%d&n=bare", kinds[1+i%2], i), gap)
				if served := err == nil && strings.HasPrefix(answer, "HTTP/1.1 101 "); served != quick {
					t.Errorf("a byte every %v, and the server answers %q, %v", gap, answer, err)
				}
				if quick {
					time.Sleep(time.Minute)
				}
			})
		}
		for range 5 {
			time.Sleep(time.Duration(rnd.IntN(1000)) * time.Millisecond)
			start := time.Now()
			id := fmt.Sprint("b", rnd.IntN(3))
			r.reader(id, pick(rnd))
			if err := r.deliver(1, id, 100); err != nil {
				t.Errorf("Deliver to another: %v", err)
			}
			within(t, "another was served", start, tick)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		others := 0
		for id := range r.conns.All() {
			if strings.HasPrefix(id, "b") {
				others++
			}
		}
		if n := r.conns.Len() - others; n != in {
			t.Errorf("%d peers are in; want the %d fast enough, and none of the %d too slow", n, in, out)
		}
		if _, err := r.done(10 * time.Minute); err != nil {
			t.Error(err)
		}
	})
}

// TestFault21HandlerThatWaits: code between Upgrade and the handshake, which may look up a
// session, has 10 s. Then its context ends, and when the code returns the connection is closed.
// A handshake within the 10 s is never too late.
func TestFault21HandlerThatWaits(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		r := newRig(t, gcpool.WithHeartbeat(0))
		takes := time.Duration(rnd.IntN(20_000)) * time.Millisecond
		r.mux.Handle("/waits", gcpool.Upgrade(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			start := time.Now()
			select {
			case <-req.Context().Done():
				if took := time.Since(start); took != 10*time.Second {
					t.Errorf("the context ended after %v", took)
				}
			case <-time.After(takes):
				websocket.Handler(r.handle).ServeHTTP(w, req)
			}
		})))
		c, _ := r.dial()
		server := r.last
		answer, err := drip(c.(*fault.Conn), "/waits?id=a&n=bare", 0)
		in := takes < 10*time.Second
		if err != nil || strings.HasPrefix(answer, "HTTP/1.1 101 ") != in {
			t.Errorf("after %v the server answers %q, %v", takes, answer, err)
		}
		time.Sleep(time.Duration(rnd.IntN(60)) * time.Second)
		synctest.Wait()
		if server.Closed() == in || (r.conns.Len() == 1) != in {
			t.Errorf("in after %v: %v; closed: %v, %d connected", takes, in, server.Closed(), r.conns.Len())
		}
		c.Close()
		if err := r.end(time.Minute); err != nil {
			t.Error(err)
		}
	})
}
