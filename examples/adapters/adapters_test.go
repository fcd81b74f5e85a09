package adapters

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
)

// sizes are those around which a frame's header changes, and one that would be
// cut in pieces on a byte stream.
var sizes = []int{0, 1, 124, 125, 126, 1000, 65535, 65536, 100 << 10}

// payload is that of message i; larger ones carry their number.
func payload(i int) []byte {
	size := sizes[0]
	if i%20 < len(sizes) {
		size = sizes[i%20]
	}
	p := fmt.Appendf(nil, "message %d ", i)
	return bytes.Repeat(p, size/len(p)+1)[:size]
}

const messages = 1000

// push sends all messages to id.
func (b *bench) push(id string) {
	for i := range messages {
		if err := b.stream.Add(id, payload(i)); err != nil {
			b.t.Errorf("message %d: %v", i, err)
			return
		}
	}
}

// calm are the options with which no client is too slow, however busy the
// machine: progress is seen as whole messages only, and some are large.
func calm(more ...gcpool.Option) []gcpool.Option {
	return append(more, gcpool.WithOutbox(64<<20), gcpool.WithWriteTimeout(time.Minute))
}

func TestMessagesArriveWholeAndInOrder(t *testing.T) {
	t.Parallel()
	for _, lib := range libraries {
		for _, newline := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/newline=%v", lib.name, newline), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, lib.serve, calm(gcpool.WithNewline(newline))...)
				receive := lib.client(t, b.url, b.header("alice"))
				b.await("alice", func() bool { return b.present("alice") != nil })
				go b.push("alice")
				for i := range messages {
					want := payload(i)
					if newline {
						want = append(want, '\n')
					}
					if got, err := receive(); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("message %d: %d bytes instead of %d, %v", i, len(got), len(want), err)
					}
				}
			})
		}
	}
}

func TestEachMessageIsOneFrameAlsoBetweenPongs(t *testing.T) {
	t.Parallel()
	const pings = 300
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, lib.serve, calm()...)
			alice := b.connect("alice")
			go b.push("alice")
			go func() {
				for i := range pings {
					if err := alice.send(9, fmt.Append(nil, i)); err != nil {
						t.Errorf("ping %d: %v", i, err)
						return
					}
				}
			}()
			for i, pongs := 0, 0; i < messages || pongs < pings; {
				f, err := alice.next()
				switch {
				case err != nil:
					t.Fatalf("after %d messages and %d pongs: %v", i, pongs, err)
				case f.op == 10 && string(f.payload) == fmt.Sprint(pongs):
					pongs++
				case f.op == 1 && f.final && bytes.Equal(f.payload, append(payload(i), '\n')):
					i++
				default:
					t.Fatalf("after %d messages and %d pongs: frame %d of %d bytes", i, pongs, f.op, len(f.payload))
				}
			}
		})
	}
}

func TestTakeoverClosesTheOldOneAndItsHandlerLeavesTheNewOneAlone(t *testing.T) {
	t.Parallel()
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, lib.serve)
			first := b.connect("alice")
			second := b.connect("alice")
			if status := first.closeStatus(t); status != 1001 {
				t.Errorf("the first is closed with %d", status)
			}
			if _, err := first.next(); err == nil {
				t.Error("the first is still open") // when its end is seen, its handler is at its own
			}
			second.send(1, []byte("hello"))
			if got := <-b.received; got != "alice: hello" {
				t.Errorf("received %q", got)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for i := range 100 { // the first one's handler may end at any of them
				if err := b.stream.Deliver(ctx, "alice", payload(5)); err != nil {
					t.Fatalf("push %d after the takeover: %v", i, err)
				}
				if _, err := second.next(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestEndOfTheHandlerRemovesItsConnection(t *testing.T) {
	t.Parallel()
	for _, lib := range libraries {
		for name, end := range map[string]func(*peer){
			"goodbye":  func(p *peer) { p.send(8, []byte{0x03, 0xe8}) },
			"cut":      func(p *peer) { p.Close() },
			"too long": func(p *peer) { p.send(1, make([]byte, messageMax+1)) },
		} {
			t.Run(lib.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t, lib.serve)
				end(b.connect("alice"))
				b.await("the end", func() bool { return b.conns.Len() == 0 })
				err := b.stream.Deliver(t.Context(), "alice", []byte("hello"))
				if !errors.Is(err, gcpool.ErrNotConnected) {
					t.Errorf("a push afterwards: %v", err)
				}
			})
		}
	}
}

func TestShutdownDeliversAndSaysGoodbye(t *testing.T) {
	t.Parallel()
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, lib.serve)
			alice := b.connect("alice")
			for i := range 10 {
				b.stream.Add("alice", payload(i))
			}
			ended := make(chan error, 1)
			go func() { ended <- b.pool.Shutdown(t.Context()) }()
			for i := range 10 {
				if f, err := alice.next(); err != nil || f.op != 1 || len(f.payload) != len(payload(i))+1 {
					t.Fatalf("message %d: frame %d, %v", i, f.op, err)
				}
			}
			if status := alice.closeStatus(t); status != 1001 {
				t.Errorf("closed with %d", status)
			}
			if f, err := alice.next(); err == nil {
				t.Errorf("after the goodbye: frame %d", f.op)
			}
			if err := <-ended; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, lib.serve)
			nobody, foreign := b.header("alice"), b.header("alice")
			nobody.Del("Cookie")
			foreign.Set("Origin", "http://evil.example")
			for name, header := range map[string]http.Header{"without a session": nobody, "from another site": foreign} {
				if _, status := dial(t, b.url, header); status != http.StatusForbidden {
					t.Errorf("%s: status %d", name, status)
				}
			}
		})
	}
}

func TestUndeliveredMessagesAreReportedOnce(t *testing.T) {
	t.Parallel()
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, lib.serve, gcpool.WithWriteTimeout(200*time.Millisecond))
			b.connect("alice") // and does not read
			accepted := 0
			for b.present("alice") != nil {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				if b.stream.AddContext(ctx, "alice", []byte(strings.Repeat("x", 64<<10))) == nil {
					accepted++
				}
				cancel()
			}
			b.await("outcomes", func() bool { return b.pool.Stats()[0].Waiting == 0 })
			s := b.pool.Stats()[0]
			if int(s.Accepted) != accepted || s.Accepted != s.Written+s.Undelivered || s.Undelivered == 0 {
				t.Errorf("%d accepted of %d: %d written, %d undelivered", s.Accepted, accepted, s.Written, s.Undelivered)
			}
			for range s.Undelivered {
				if u := <-b.failed; !errors.Is(u.Err, gcpool.ErrSlow) && !errors.Is(u.Err, gcpool.ErrNotConnected) {
					t.Errorf("reported with %v", u.Err)
				}
			}
		})
	}
}
