package libraries

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/ledger"
)

// TestFault06Reconnects reconnects a user whose old handlers end late, while messages are
// pushed all the time. Every message must arrive, or be reported because its frame was cut.
func TestFault06Reconnects(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		r := newRig(t, lib)
		gates, over := make(chan chan struct{}, 100), make(chan struct{})
		r.leave = func(*visit) {
			gate := make(chan struct{})
			gates <- gate
			select {
			case <-gate:
			case <-over:
			}
		}
		r.reader("alice")
		stop := r.pushing("alice", 60)
		for i := range 20 {
			r.reader("alice")
			for range i % 3 { // the oldest handlers that are about to end
				select {
				case gate := <-gates:
					close(gate)
				case <-time.After(patience):
					t.Fatal("no handler is about to end")
				}
			}
		}
		stop()
		if r.conns.Connected("alice") != 1 {
			t.Error("an old handler has removed the newest connection")
		}
		close(over)
		s, err := r.done()
		if err != nil || s.Undelivered > s.Takeovers || s.Undelivered != s.NotConnected {
			t.Errorf("%v, %+v", err, s)
		}
	})
}

// TestFault08OldWriteFailsAfterTheReplacement: a write is stuck on
// the old connection when the new one comes, and fails later. The new
// connection must get everything, including the frame that was cut.
func TestFault08OldWriteFailsAfterTheReplacement(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		r := newRig(t, lib, gcpool.WithOutbox(32<<20), gcpool.WithHeartbeat(0))
		old, p := r.proxied("a")
		p.Pause(true)
		for r.pool.Stats()[0].Waiting < 50 {
			r.push(t.Context(), "a", 60_000)
		}
		eventually(t, "a write is stuck", func() bool { return r.pool.Stats()[0].Stalled == 1 })
		next := r.reader("a")
		for range 50 {
			r.push(t.Context(), "a", 1000)
		}
		p.Reset()
		old.run()
		r.deliver("a", 1, 1000)
		if s := r.stats(); s.Connections != 1 || s.Undelivered > 1 {
			t.Errorf("%+v", s)
		}
		s, err := r.done()
		if err != nil || next.code != 1001 || next.err != nil || s.Undelivered > 1 {
			t.Errorf("%v, the new connection ended with %d, %v: %+v", err, next.code, next.err, s)
		}
	})
}

// strange returns frames that a client may send, in odd forms: any length, empty fragments,
// pings inside messages, and unsolicited pongs.
func strange() []byte {
	var all []byte
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536} {
		all = append(all, frameOf(final|opBinary, make([]byte, n))...)
	}
	return slices.Concat(all, frameOf(opText, nil), frameOf(final|opPing, nil), frameOf(0, []byte("a")),
		frameOf(final|opPong, []byte("unasked")), frameOf(final|opPing, make([]byte, 125)), frameOf(final, nil))
}

// TestFault16StrangeFrames: whatever the client sends, and however it is split, messages to the
// client arrive whole and in order until it breaks the protocol. Then it gets one close frame.
func TestFault16StrangeFrames(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		t.Parallel()
		for name, bad := range map[string][]byte{
			"no mask":                  {0x81, 0x01, 'a'},
			"an unknown opcode":        {0x83, 0x80, 0, 0, 0, 0},
			"a continuation of no one": {0x80, 0x80, 0, 0, 0, 0},
			"a ping of 126 bytes":      append([]byte{0x89, 0xfe, 0, 126, 0, 0, 0, 0}, make([]byte, 126)...),
			"a close frame of a byte":  {0x88, 0x81, 0, 0, 0, 0, 3},
		} {
			t.Run(name, func(t *testing.T) {
				attempts(t, func() error { return odd(t, lib, name, bad) })
			})
		}
	})
}

// odd makes one client send strange frames and then a bad one.
func odd(t *testing.T, lib library, name string, bad []byte) error {
	r := newRig(t, lib)
	u := r.reader("a")
	stop := r.pushing("a", 100)
	for i, all := 0, strange(); len(all) > 0; i++ {
		n := min(len(all), 1+i*i%4000)
		u.Write(all[:n])
		all = all[n:]
	}
	u.Write(bad)
	// x/net misreads some of them, and goes on.
	lax := lib.loose && name != "no mask"
	if !lax {
		eventually(t, "the connection is removed", func() bool { return r.conns.Len() == 0 })
	}
	stop()
	s, err := r.done()
	if codes := []int{1000, 1002, 1005}; err != nil || !lax && !slices.Contains(codes, u.code) || u.err != nil {
		return fmt.Errorf("%v, ended with %d, %v: %+v", err, u.code, u.err, s)
	}
	return nil
}

// TestFault18ShutdownWithStalledPeers: two clients of ten read
// nothing. The others get all messages and the goodbye, the messages
// of the stalled two are reported, and Shutdown ends with its context.
func TestFault18ShutdownWithStalledPeers(t *testing.T) {
	each(t, func(t *testing.T, lib library) {
		r := newRig(t, lib, gcpool.WithOutbox(32<<20), gcpool.WithWriteTimeout(time.Hour), gcpool.WithHeartbeat(0))
		var reading []*user
		for i := range 10 {
			id := fmt.Sprint(i)
			if i%5 != 0 {
				reading = append(reading, r.reader(id))
				for range 20 {
					r.push(t.Context(), id, 500)
				}
				continue
			}
			waiting := r.pool.Stats()[0].Waiting
			r.connect(id)
			for r.pool.Stats()[0].Waiting < waiting+50 {
				r.push(t.Context(), id, 60_000)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- r.pool.Shutdown(ctx) }()
		for i, u := range reading { // these get everything while the others keep Shutdown waiting
			select {
			case <-u.ended:
			case err := <-over:
				t.Fatalf("Shutdown: %v, though its context lasts", err)
			case <-time.After(patience):
				t.Fatalf("reader %d waits for the stalled clients", i)
			}
		}
		cancel()
		select {
		case err := <-over:
			if err != context.Canceled {
				t.Errorf("Shutdown: %v", err)
			}
		case <-time.After(patience): // 100 times the limit
			t.Fatal("Shutdown does not end with its context")
		}
		eventually(t, "no goroutine of the pool is left, and the hook has caught up", func() bool { return len(ledger.Running()) == 0 })
		if s := r.judge(); s.Closed == 0 || s.Undelivered != s.Closed || s.Connections != 0 {
			t.Errorf("%+v", s)
		}
		for i, u := range reading {
			if u.code != 1001 || u.err != nil {
				t.Errorf("reader %d ended with %d, %v", i, u.code, u.err)
			}
		}
	})
}
