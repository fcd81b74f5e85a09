package libraries

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// sizes of a library's messages: empty, around each form of the length field, and up to 1 MiB.
var sizes = []int{0, 1, 124, 125, 126, 127, 4 << 10, 65535, 65536, 200_000, 1 << 20}

// filling is compressible, and no part of it looks like another.
var filling = func() []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < 2<<20; i++ {
		fmt.Fprintf(&b, "line %d of the filling, ", i*i)
	}
	return b.Bytes()
}()

// own returns the library's message k. None begins like a push.
func own(k int) []byte {
	at := k % (1 << 19)
	p := bytes.Clone(filling[at : at+sizes[k%len(sizes)]])
	if len(p) > 0 {
		p[0] = 'L'
	}
	return p
}

func pushed(i int) string { return fmt.Sprintf("P%08d%s", i, filling[i%1000:i%1000+i%300]) }

// A mixture is everything that passes over one connection at once.
type mixture struct {
	h       *host
	c       *client
	v       *visit
	pushes  int
	over    atomic.Bool // the pushes are done, so all else ends
	wrote   int         // messages of the library
	sent    int         // messages of the client
	asked   int         // pings of the client, except the last
	pinged  int         // pings of the library
	settled atomic.Bool // all the fields above are final

	heard atomic.Int64 // messages of the client that the library got

	// What the client got.
	pushed, own, pong, ping int
	answered                bool // the last ping was answered
}

const lastPing = 9_999_999

var pushes = flag.Int("pushes", 0, "how many for each library; 0 is 100,000, and 10,000 with -race or -short")

// TestEverythingAtOnce: the pool pushes, the library writes and pings, and the client writes
// and pings, all at once. Every message must arrive whole, once and in order, both ways.
func TestEverythingAtOnce(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		m := &mixture{pushes: *pushes, pong: -1, ping: -1}
		if m.pushes == 0 && (testing.Short() || raceEnabled) {
			m.pushes = 10_000
		}
		m.pushes = cmp.Or(m.pushes, 100_000)
		m.h = newHost(t, lib, gcpool.WithWriteTimeout(patience))
		m.h.received = func(_ *visit, p []byte) {
			if n := m.heard.Add(1); string(p) != message(int(n-1)) {
				t.Errorf("the library read %.40q as message %d", p, n-1)
			}
		}
		m.c, m.v = m.h.connect("a")
		var all sync.WaitGroup
		for _, f := range []func(){m.push, m.write, m.pingClient, m.pingServer, m.talk} {
			all.Go(f)
		}
		go func() {
			all.Wait()
			m.settled.Store(true)
			m.c.send(final|opPing, m.mark("C", lastPing))
		}()
		m.read(t)
		all.Wait() // even if read has given up
		eventually(t, "the library has read all", func() bool { return int(m.heard.Load()) == m.sent || t.Failed() })
		over := m.h.shutdownLater()
		if e, more, err := m.c.leave(); !t.Failed() && (err != nil || more != 0 || e.code() != 1001) {
			t.Errorf("after Shutdown: %d messages, %v, %v", more, e.code(), err)
		}
		if err := <-over; err != nil {
			t.Error(err)
		}
		t.Logf("%d pushes, %d messages of the library's, %d of the client's; %d and %d pings", m.pushed, m.own, m.sent, m.pinged, m.asked)
	})
}

func (m *mixture) push() {
	defer m.over.Store(true)
	for i := range m.pushes {
		if err := m.h.stream.Add("a", []byte(pushed(i))); err != nil {
			m.h.t.Error(err)
			return
		}
	}
}

// write makes the library write each size at least twice.
func (m *mixture) write() {
	for ; !m.over.Load() || m.wrote < 2*len(sizes); m.wrote++ {
		if err := m.v.socket.write(own(m.wrote), 1+m.wrote%4); err != nil {
			m.h.t.Errorf("message %d of the library's: %v", m.wrote, err)
			return
		}
	}
}

func (m *mixture) pingClient() {
	for ; !m.over.Load(); time.Sleep(time.Millisecond) {
		if err := m.v.socket.ping(m.mark("L", m.pinged)); errors.Is(err, errUnable) {
			return
		} else if err != nil {
			m.h.t.Errorf("ping %d of the library's: %v", m.pinged, err)
			return
		}
		m.pinged++
	}
}

func (m *mixture) pingServer() {
	for ; !m.over.Load(); time.Sleep(500 * time.Microsecond) {
		if err := m.c.send(final|opPing, m.mark("C", m.asked)); err != nil {
			m.h.t.Errorf("ping %d of the client's: %v", m.asked, err)
			return
		}
		m.asked++
	}
}

// mark returns the payload of a ping.
func (m *mixture) mark(who string, n int) []byte {
	if m.h.lib.hollow {
		return nil
	}
	return fmt.Appendf(nil, "%s%07d", who, n)
}

// message returns the client's message n.
func message(n int) string { return fmt.Sprintf("M%07d%s", n, strings.Repeat("m", n%2000)) }

// talk makes the client send messages. It is the only sender of data, so a ping may come
// between two of its fragments.
func (m *mixture) talk() {
	for ; !m.over.Load(); time.Sleep(500 * time.Microsecond) {
		parts := split([]byte(message(m.sent)), m.parts())
		for i, part := range parts {
			first := byte(0)
			if i == 0 {
				first = opText
			}
			if i == len(parts)-1 {
				first |= final
			}
			if err := m.c.send(first, part); err != nil {
				m.h.t.Errorf("message %d of the client's: %v", m.sent, err)
				return
			}
		}
		m.sent++
	}
}

// parts returns the number of fragments of the client's next message.
func (m *mixture) parts() int {
	if m.h.lib.loose {
		return 1
	}
	return 1 + m.sent%3
}

// read reads until everything has arrived, including the answer to the last ping.
func (m *mixture) read(t *testing.T) {
	for !m.settled.Load() || m.pushed < m.pushes || m.own < m.wrote || !m.answered {
		e, err := m.c.next()
		if err == nil {
			err = m.judge(e)
		}
		if err != nil {
			t.Errorf("after %d pushes and %d messages of the library's: %v", m.pushed, m.own, err)
			m.over.Store(true)
			m.c.Close()
			return
		}
	}
}

// judge checks one message or control frame. Pings and pongs may be missing, because only one
// of each kind can wait, but their order never changes.
func (m *mixture) judge(e event) error {
	n := lastPing
	fmt.Sscanf(string(e.payload), "C%d", &n)
	switch {
	case e.op == opPong && (n > m.pong || m.h.lib.hollow) && bytes.Equal(e.payload, m.mark("C", n)):
		m.pong = n
		m.answered = n == lastPing
	case e.op == opPing:
		m.c.reply(e)
		if _, err := fmt.Sscanf(string(e.payload), "L%d", &n); err != nil {
			return nil // coder and melody choose the payload
		}
		if n <= m.ping {
			return fmt.Errorf("the ping %d came after %d", n, m.ping)
		}
		m.ping = n
	case e.op == opText && !e.deflate && e.frames == 1 && string(e.payload) == pushed(m.pushed):
		m.pushed++
	case e.op == opBinary && bytes.Equal(e.payload, own(m.own)):
		m.own++
	default:
		return fmt.Errorf("opcode %x, %d bytes in %d frames: %.40q", e.op, len(e.payload), e.frames, e.payload)
	}
	return nil
}
