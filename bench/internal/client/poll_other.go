//go:build !linux

package client

import (
	"net"
	"syscall"

	"github.com/nulijiabei/gcpool/bench/internal/clock"
)

// poller reads each connection in its own goroutine. It costs more than the poller for
// Linux, and never rests.
type poller struct{ conns map[int]net.Conn }

type socket struct{ net.Conn }

func newPoller() (*poller, error) { return &poller{}, nil }

func (p *poller) add(_ int, nc net.Conn) (socket, error) { return socket{nc}, nil }

// remove leaves the reading goroutine to find out that the user has stalled.
func (p *poller) remove(socket) {}

func (p *poller) run(k *Client) {
	for _, c := range k.conns {
		go read(k, c)
	}
}

func read(k *Client, c *conn) {
	buffer := make([]byte, 256<<10)
	for {
		had := copy(buffer, c.left)
		n, err := c.socket.Read(buffer[had:])
		if err != nil {
			k.ended(c, err)
			return
		}
		k.mu.Lock()
		stalled := c.stalled
		k.mu.Unlock()
		if stalled {
			return
		}
		k.arrived(c, buffer[:had+n], clock.Now())
	}
}

func (s socket) write(b []byte) { _, _ = s.Write(b) }

func (s socket) close() { _ = s.Close() }

func shrink(syscall.RawConn) error { return nil }
