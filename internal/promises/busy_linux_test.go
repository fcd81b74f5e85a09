//go:build linux

package promises

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	gframe "github.com/nulijiabei/gcpool/internal/frame"
)

// slowly reads a little at a time, at 800 KB/s on average. It makes up for delays, because the many
// short delays of a busy machine would otherwise make it read for longer than a close may take.
type slowly struct {
	io.Reader
	start time.Time // of the first Read
	got   int
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.got == 0 {
		s.start = time.Now()
	}
	time.Sleep(time.Until(s.start.Add(time.Duration(s.got) * time.Second / (800 << 10))))
	n, err := s.Reader.Read(p[:min(len(p), 4<<10)])
	s.got += n
	return n, err
}

// upgradedTCP serves connections of "a" under Upgrade, and reads from them.
func upgradedTCP(t *testing.T) (*gcpool.ConnPool, *gcpool.StreamPool, string) {
	_, conns, stream := started(t)
	return conns, stream, serve(t, gcpool.Upgrade, library(t, func(r *http.Request, conn net.Conn) {
		conns.Add("a", gcpool.Conn(r))
		io.Copy(io.Discard, conn)
	}))
}

// TestPeerThatReadsALongMessageIsNotSilent: the application writes a frame that takes many
// heartbeats. The ping waits behind the frame, so the peer must not be blamed for not answering it.
func TestPeerThatReadsALongMessageIsNotSilent(t *testing.T) {
	undisturbed(t, func() error {
		_, conns, _ := started(t, gcpool.WithHeartbeat(300*time.Millisecond))
		url := serve(t, gcpool.Upgrade, library(t, func(r *http.Request, conn net.Conn) {
			long := gframe.Append(nil, gframe.Binary, make([]byte, 32<<20), false)
			conn.Write(long[:1000]) // before the first ping, which the peer would otherwise have to answer
			go conn.Write(long[1000:])
			conns.Add("a", gcpool.Conn(r))
			io.Copy(io.Discard, conn)
		}))
		_, r := handshake(t, url, "", 64<<10)
		buf := make([]byte, 64<<10)
		for start := time.Now(); time.Since(start) < 2*time.Second; time.Sleep(15 * time.Millisecond) {
			if _, err := io.ReadFull(r, buf); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestReplacedPeerThatReadsIsTold: a connection with a slow peer is
// replaced during a write. The peer must still get the close frame
// with 4500, or it would come back and replace the newer connection.
func TestReplacedPeerThatReadsIsTold(t *testing.T) {
	undisturbed(t, func() error {
		conns, stream, url := upgradedTCP(t)
		_, old := handshake(t, url, "", 64<<10)
		eventually(t, "connected", func() bool { return conns.Connected("a") == 1 })
		for range 9 {
			add(t, stream, "a", string(make([]byte, 100<<10)))
		}
		closed := make(chan error, 1)
		go func() {
			r := bufio.NewReaderSize(&slowly{Reader: old}, 4<<10)
			for {
				op, payload, err := frame(r)
				switch {
				case err != nil:
					closed <- err
					return
				case op == 0x88:
					if payload != "\x11\x94" { // 4500
						t.Errorf("close frame %q", payload)
					}
					closed <- nil
					return
				}
			}
		}()
		time.Sleep(40 * time.Millisecond)
		handshake(t, url, "", 64<<10)
		return <-closed
	})
}

// TestTakeoverDoesNotWaitForADeadPeer: the write to a replaced connection has been stuck for a
// long time, so its peer gets no more time.
func TestTakeoverDoesNotWaitForADeadPeer(t *testing.T) {
	undisturbed(t, func() error {
		conns, stream, url := upgradedTCP(t)
		handshake(t, url, "", 4<<10)
		eventually(t, "connected", func() bool { return conns.Connected("a") == 1 })
		add(t, stream, "a", string(make([]byte, 900<<10)))
		eventually(t, "stalled", func() bool { return !conns.Info("a").Stalled.IsZero() })
		time.Sleep(700 * time.Millisecond)
		start := time.Now()
		_, r := handshake(t, url, "", 0)
		if _, payload, err := frame(r); len(payload) != 900<<10+1 || err != nil { // the same message again, whole
			return fmt.Errorf("read %d bytes, %v", len(payload), err)
		}
		if took := time.Since(start); took > 400*time.Millisecond {
			return fmt.Errorf("the newer connection waited for %v", took)
		}
		return nil
	})
}

// TestTakeoverDoesNotWaitForARawPeer: a raw connection gets no close frame, so there is no
// reason to wait for its slow peer.
func TestTakeoverDoesNotWaitForARawPeer(t *testing.T) {
	undisturbed(t, func() error {
		_, conns, stream := started(t)
		old := tcp(t, conns, "a")
		go io.Copy(io.Discard, &slowly{Reader: old})
		add(t, stream, "a", string(make([]byte, 1<<20-1)))
		eventually(t, "stalled", func() bool { return !conns.Info("a").Stalled.IsZero() })
		start := time.Now()
		r := bufio.NewReader(tcp(t, conns, "a"))
		add(t, stream, "a", "hello")
		if got, err := r.ReadString('\n'); got != "hello\n" {
			return fmt.Errorf("read %d bytes, %v", len(got), err)
		}
		if took := time.Since(start); took > 400*time.Millisecond {
			return fmt.Errorf("the newer connection waited for %v", took)
		}
		return nil
	})
}
