package torture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
	"golang.org/x/net/websocket"
)

// shortLines is our README's handler: it reads lines of limited length.
func shortLines(ws *websocket.Conn) {
	lines := bufio.NewScanner(ws)
	lines.Buffer(make([]byte, 512), 64<<10)
	for lines.Scan() {
	}
}

// pour writes p repeatedly until at least most bytes are written or the server refuses
// more. It returns the number of bytes written.
func pour(c net.Conn, p []byte, most int) (n int, err error) {
	for n < most && err == nil {
		m := 0
		c.SetWriteDeadline(time.Now().Add(far))
		m, err = c.Write(p)
		n += m
	}
	return n, err
}

// hugeFrame returns the header of a frame with a length of n bytes, and its mask.
func hugeFrame(first byte, n uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, n), 0, 0, 0, 0)
}

// TestFault14EndlessMessages: a peer that announces a frame of 2^62 bytes, or never sends a
// newline, must take no memory. If the handler limits its lines, a peer whose line is too long
// is disconnected. Until then, messages to that peer and to others have their outcomes.
func TestFault14EndlessMessages(t *testing.T) {
	const flood, growth = 12 << 20, 4 << 20
	endless := bytes.Repeat([]byte("x"), 64<<10)
	fragment := append([]byte{0x01, 0x80 | 126, 4, 0, 0, 0, 0, 0}, bytes.Repeat([]byte("x"), 1<<10)...)
	for _, c := range []struct {
		name          string
		header, after []byte
		stays         bool // the handler does not see a control frame
	}{
		{"frame of 2^62", hugeFrame(0x81, 1<<62), endless, false},
		{"frame of 2^64-1", hugeFrame(0x82, 1<<64-1), endless, false},
		{"fragments", nil, fragment, false},
		{"ping of 2^62", hugeFrame(0x89, 1<<62), endless, true},
	} {
		for _, k := range kinds[1:] {
			t.Run(c.name+" "+k.String(), func(t *testing.T) {
				r := newTCP(t, gcpool.WithWriteTimeout(2*time.Second)) // for a peer in the middle of a ping, which cannot answer the close frame
				r.read = shortLines
				r.reader("b", k)
				u := r.connect("a", k)
				u.Mute = true // a pong would become part of the frame
				r.run(u)
				r.wg.Add(1)
				before := ledger.Measure(true).Heap
				var went atomic.Int64
				go func() {
					defer r.wg.Done()
					u.Conn.Write(c.header)
					n, _ := pour(u.Conn, c.after, flood)
					went.Store(max(1, int64(n)))
				}()
				r.whileFlooded(before+growth, func() bool { return went.Load() > 0 })
				if stays := r.conns.Len() == 2 && went.Load() >= flood; stays != c.stays {
					t.Errorf("%d bytes were taken, %d are connected", went.Load(), r.conns.Len())
				}
				if s, err := r.done(far); err != nil || c.stays && s.Undelivered > 0 || s.Slow > 0 {
					t.Errorf("Shutdown: %v, %+v", err, s)
				}
			})
		}
	}
}

// whileFlooded pushes to "a" and "b" until over returns true. It checks that "b" gets
// its messages and that the heap stays below most.
func (r *rig) whileFlooded(most uint64, over func() bool) {
	r.t.Helper()
	eventually(r.t, "the flood ends", func() bool {
		r.push(1, "a", 100)
		if err := r.deliver(1, "b", 100); err != nil {
			r.t.Fatalf("Deliver to another: %v", err)
		}
		if heap := ledger.Measure(true).Heap; heap > most {
			r.t.Fatalf("the heap is %d bytes above its bound", heap-most)
		}
		r.stats()
		return over()
	})
}

// TestFault14AnnouncedAndSilent: a frame that never ends is no sign of life. An upgraded peer
// that sends one is closed after two heartbeats, and takes no memory until then. Without
// Upgrade the pool cannot detect the silence, so the peer keeps getting its messages.
func TestFault14AnnouncedAndSilent(t *testing.T) {
	for _, k := range kinds[1:] {
		t.Run(k.String(), func(t *testing.T) {
			const d = 2 * time.Second // a busy machine may hold up the other peer, which answers, for twice this time
			before := ledger.Measure(true).Heap
			r := newTCP(t, gcpool.WithHeartbeat(d), gcpool.WithWriteTimeout(time.Second))
			r.read = shortLines
			start := time.Now()
			u := r.connect("a", k)
			u.Mute = true
			r.run(u)
			r.reader("b", k)
			u.Conn.Write(hugeFrame(0x82, 1<<62))
			if heap := ledger.Measure(true).Heap; heap > before+(4<<20) {
				t.Errorf("the heap grew by %d bytes", heap-before)
			}
			eventually(t, "the silent peer is found", func() bool {
				return r.conns.Len() == 1 || k == plain && time.Since(start) > 4*d
			})
			if gone := r.conns.Len() == 1; gone != (k == upgraded) || gone && time.Since(start) < 2*d {
				t.Errorf("after %v: gone is %v", time.Since(start), gone)
			}
			if err := r.deliver(1, "a", 100); (err == nil) != (k == plain) {
				t.Errorf("Deliver to the silent peer: %v", err)
			}
			if err := r.deliver(1, "b", 100); err != nil {
				t.Errorf("Deliver to the other: %v", err)
			}
			if _, err := r.done(far); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFault15PingFlood: a peer pings and does not read, so the pongs fill its socket and its
// handler hangs. The peer is closed when the pool's own ping has hung for the write timeout, or
// earlier for silence. No other peer waits, and no memory is taken. The test runs in real time,
// because x/net holds a mutex while a pong hangs, and simulated time cannot pass then.
func TestFault15PingFlood(t *testing.T) {
	const growth = 8 << 20
	pings := bytes.Repeat(append([]byte{0x89, 0x80 | 125, 0, 0, 0, 0}, make([]byte, 125)...), 500)
	for _, k := range kinds[1:] {
		for _, pushed := range []bool{false, true} {
			t.Run(k.String()+map[bool]string{false: "", true: " pushed to"}[pushed], func(t *testing.T) {
				r := newTCP(t, gcpool.WithHeartbeat(2*time.Second), gcpool.WithWriteTimeout(500*time.Millisecond))
				left := make(chan string, 2)
				r.leave = func(id string) { left <- id }
				r.reader("b", k)
				u := r.connect("a", k)
				before := ledger.Measure(true).Heap
				ended := make(chan error, 1)
				r.wg.Go(func() {
					_, err := pour(u.Conn, pings, 1<<40)
					ended <- err
				})
				eventually(t, "the peer is closed", func() bool {
					if err := r.deliver(1, "b", 1000); err != nil {
						t.Fatalf("Deliver to another: %v", err)
					}
					if pushed {
						r.push(1, "a", 1000)
					}
					if heap := ledger.Measure(true).Heap; heap > before+growth {
						t.Fatalf("the heap grew by %d bytes", heap-before)
					}
					return r.stats().Connections == 1
				})
				if err := <-ended; isTimeout(err) {
					t.Errorf("the flood was not cut off: %v", err)
				}
				u.reading = true // the RST has discarded the bytes that it did not read
				u.Conn.Close()
				if id := <-left; id != "a" { // the handler has gone on
					t.Errorf("the handler of %q ended", id)
				}
				s, err := r.done(far)
				if err != nil || s.Leaves != 2 || s.Stalled != 0 || pushed && s.Undelivered == 0 {
					t.Errorf("Shutdown: %v, %+v", err, s)
				}
			})
		}
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
