package promises

import (
	"bytes"
	"net"
	"testing"

	"github.com/nulijiabei/gcpool"
)

// TestKernelKeepsLittleOfAStalledPeer: the operating system's buffer holds little for a
// stalled peer. The rest waits in the outbox.
func TestKernelKeepsLittleOfAStalledPeer(t *testing.T) {
	for _, l := range slowLines(t) {
		if l.kind == "unix" {
			continue // no such bound, and a send buffer of 208 KiB
		}
		t.Run(l.String(), func(t *testing.T) {
			p, conns, stream := started(t, gcpool.WithOutbox(32<<20))
			l.open(t, conns)
			for range 256 {
				if err := stream.Add("a", make([]byte, 32<<10)); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "stalled", func() bool { return p.Stats()[0].Stalled == 1 })
			const most = 256 << 10
			if s := p.Stats()[0]; int(s.WrittenBytes) > most+l.window {
				t.Errorf("the system has taken %d KiB for a peer with room for %d KiB", s.WrittenBytes>>10, l.window>>10)
			}
		})
	}
}

// TestWhatAStalledPeerLoses: when the user of a stalled peer reconnects, the messages in the
// operating system's buffer are lost, although they count as written. The test logs their size
// with and without the limit on that buffer.
func TestWhatAStalledPeerLoses(t *testing.T) {
	lost := func(bound bool) int {
		p, conns, stream := started(t, gcpool.WithOutbox(32<<20))
		l := line{"tcp", true, 64 << 10}
		slowLines(t)
		_, _, under := l.open(t, conns)
		if !bound {
			raw, err := under.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			raw.Control(func(fd uintptr) { err = unlimit(fd) })
			if err != nil {
				t.Skip(err)
			}
		}
		const messages, size = 1024, 8 << 10
		for i := range messages {
			data := bytes.Repeat([]byte{byte(i >> 8), byte(i)}, size/2)
			if err := stream.Add("a", data); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "stalled", func() bool { return p.Stats()[0].Stalled == 1 })
		l.window = 1 << 20
		_, r, _ := l.open(t, conns)
		first := -1
		for i := range messages {
			head, payload, err := frame(r)
			if err != nil || head != 0x81 {
				t.Fatal(head, err)
			}
			n := int(payload[0])<<8 | int(payload[1])
			if i == 0 {
				first = n
			}
			if n != first+i {
				t.Fatalf("received message %d, want %d", n, first+i)
			}
			if n == messages-1 {
				break
			}
		}
		if s := p.Stats()[0]; s.Undelivered > 0 {
			t.Errorf("%d were reported", s.Undelivered)
		}
		return first * size
	}
	before, after := lost(false), lost(true)
	t.Logf("a stalled peer with a receive buffer of 64 KiB loses %d KiB at its reconnect, and %d KiB without the bound", after>>10, before>>10)
	if after > 320<<10 || after >= before {
		t.Errorf("%d KiB are lost with the bound, %d KiB without", after>>10, before>>10)
	}
}
