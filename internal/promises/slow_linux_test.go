//go:build linux

package promises

import (
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestUnixReaderIsNotSlow: a peer on a Unix socket reads a tenth of the operating
// system's buffer within the write timeout. It is not slow.
func TestUnixReaderIsNotSlow(t *testing.T) {
	t.Parallel()
	slowLines(t)
	for _, upgrade := range []bool{true, false} {
		t.Run(fmt.Sprint("upgrade ", upgrade), func(t *testing.T) {
			t.Parallel()
			p, conns, stream := started(t, gcpool.WithOutbox(32<<20), gcpool.WithWriteTimeout(long), gcpool.WithHeartbeat(0))
			l := line{"unix", upgrade, 64 << 10}
			_, r, _ := l.open(t, conns)
			for range 4 {
				if err := stream.Add("a", make([]byte, 1<<20)); err != nil {
					t.Fatal(err)
				}
			}
			const rate = 4 << 10 // a tenth of a buffer of 208 KiB within the timeout
			got, err := read(r, 12*rate, rate)
			if s := p.Stats()[0]; err != nil || s.Connections != 1 {
				t.Errorf("read %d KiB at %d KiB/s: %v; closed, %d slow", got>>10, rate>>10, err, s.Slow)
			}
		})
	}
}

// TestUnixReaderOfTheApplicationIsNotSlow: the pool's message waits for a message of the
// application, whose progress counts too.
func TestUnixReaderOfTheApplicationIsNotSlow(t *testing.T) {
	slowLines(t)
	t.Parallel()
	p, conns, stream := started(t, gcpool.WithWriteTimeout(long), gcpool.WithHeartbeat(0))
	l := line{"unix", true, 64 << 10}
	_, r, _ := l.open(t, conns)
	conns.Get("a", func(ws net.Conn) error {
		go ws.Write(make([]byte, 4<<20))
		return nil
	})
	if _, err := r.ReadByte(); err != nil { // the message has begun
		t.Fatal(err)
	}
	add(t, stream, "a", "behind")
	const rate = 4 << 10 // a tenth of a buffer of 208 KiB within the timeout
	got, err := read(r, 12*rate, rate)
	if s := p.Stats()[0]; err != nil || s.Connections != 1 {
		t.Errorf("read %d KiB at %d KiB/s: %v; closed, %d slow", got>>10, rate>>10, err, s.Slow)
	}
}

// TestSmallSendBufferHidesNoReader: between two checks, the peer acknowledges some bytes, and
// the buffer takes the same number of new ones. The peer still counts as reading.
func TestSmallSendBufferHidesNoReader(t *testing.T) {
	t.Parallel()
	slowLines(t)
	for _, kind := range []string{"unix", "tcp"} {
		for _, upgrade := range []bool{true, false} {
			t.Run(fmt.Sprint(kind, " upgrade ", upgrade), func(t *testing.T) {
				t.Parallel()
				p, conns, stream := started(t, gcpool.WithOutbox(32<<20), gcpool.WithWriteTimeout(long), gcpool.WithHeartbeat(0))
				l := line{kind, upgrade, 4 << 10}
				_, r, under := l.open(t, conns)
				under.(interface{ SetWriteBuffer(int) error }).SetWriteBuffer(4 << 10)
				for range 4 {
					if err := stream.Add("a", make([]byte, 1<<20)); err != nil {
						t.Fatal(err)
					}
				}
				for i := range 12 { // a burst from time to time
					time.Sleep(long / 4)
					if n, err := io.ReadFull(r, make([]byte, 8<<10)); err != nil {
						t.Fatalf("after %d bytes: %v; %+v", i*8<<10+n, err, p.Stats()[0])
					}
				}
			})
		}
	}
}

// TestAddAfterShutdownLeavesConnAlone: Add after Shutdown does not change the
// connection or its options.
func TestAddAfterShutdownLeavesConnAlone(t *testing.T) {
	slowLines(t)
	p, conns, _ := started(t)
	shutdown(p, time.Second)
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	get := func() (n int) {
		raw, _ := c.(*net.TCPConn).SyscallConn()
		raw.Control(func(fd uintptr) { n, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 25) })
		return n
	}
	before := get()
	if err := conns.Add("a", c); err != gcpool.ErrClosed {
		t.Fatal(err)
	}
	if after := get(); after != before {
		t.Errorf("Add returned ErrClosed, which leaves conn alone, and set TCP_NOTSENT_LOWAT from %d to %d", uint32(before), after)
	}
}
