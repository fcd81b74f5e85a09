package cursor

import (
	"context"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/schedule"
)

// TestNoPingFollowsAGoodbye: nothing is sent after Shutdown's close frame.
func TestNoPingFollowsAGoodbye(t *testing.T) {
	for life, want := range map[life]byte{open: frame.Ping, goodbye: 0} {
		b := newBench(t, backlog.Config{Heartbeat: time.Hour})
		b.Shared.Line.Open(drain)
		link, _, _ := upgraded(t)
		conn := b.attachLink(link)
		conn.life, b.turn = life, writing // so that no writer comes
		b.Beat(conn.Since+b.Shared.Heartbeat*3/2, 0)
		if conn.control != want {
			t.Errorf("in life %d: opcode %d is due, want %d", life, conn.control, want)
		}
	}
}

// TestBeatRacedWithTakeover: a takeover happens while a beat removes a silent connection. The
// beat must not remove the newer connection.
func TestBeatRacedWithTakeover(t *testing.T) {
	for range 20 {
		b := newBench(t, backlog.Config{Heartbeat: time.Hour})
		b.Shared.Line.Open(drain)
		link, _, _ := upgraded(t)
		newer, _, _ := upgraded(t)
		silent := b.attachLink(link)
		silent.heard -= 3 * b.Shared.Heartbeat
		b.turn = writing // so that no writer comes
		var both sync.WaitGroup
		b.Lock()
		both.Go(func() { b.Beat(b.Shared.Line.Now(), 0) })
		time.Sleep(2 * time.Millisecond)
		both.Go(func() { b.Attach(newer, 0) })
		time.Sleep(2 * time.Millisecond)
		b.Unlock()
		b.Lock() // the beat has passed its check: from now on waiters get the lock in turn
		time.Sleep(2 * time.Millisecond)
		b.Unlock()
		if both.Wait(); b.present() != newer {
			t.Fatal("a beat has removed the newer connection")
		}
	}
}

// TestLostTimeIsNoSilence: time during which the process was stopped
// does not count as a peer's silence.
func TestLostTimeIsNoSilence(t *testing.T) {
	for lost, want := range map[time.Duration]bool{0: true, 2 * time.Hour: false} {
		b := newBench(t, backlog.Config{Heartbeat: time.Hour})
		b.Shared.Line.Open(drain)
		link, _, _ := upgraded(t)
		conn := b.attachLink(link)
		b.turn = writing // so that no writer comes
		b.Beat(conn.Since+3*b.Shared.Heartbeat, lost)
		if removed := b.present() == nil; removed != want {
			t.Errorf("silent for three hours, of which %v were lost: removed is %v", lost, removed)
		}
	}
}

// TestWhoHasGoneIsRetired: retire must be called at each step that
// may end the last reason to keep an id.
func TestWhoHasGoneIsRetired(t *testing.T) {
	for name, test := range map[string]struct {
		outcomes []error // of messages that were forwarded earlier
		step     func(b *bench, done func(errs []error))
	}{
		"a beat finds no connection": {nil, func(b *bench, _ func([]error)) { b.Beat(0, 0) }},
		"the last message has expired": {[]error{outcome.ErrNotConnected}, func(b *bench, _ func([]error)) {
			b.Shared.Closed.Store(true)
			b.Shared.Mailbox.Trim(context.Background())
		}},
		"what waited for Start has no place": {nil, func(b *bench, _ func([]error)) {
			b.Shared.SetRemote(nil)
			b.push(strings.Repeat("x", 2000))
			b.Serve(&b.writer)
		}},
		"a batch was taken elsewhere": {[]error{nil}, func(b *bench, done func([]error)) {
			b.push("2")
			b.Serve(&b.writer)
			done([]error{nil})
		}},
	} {
		b, remote := newBench(t, backlog.Config{MailboxTTL: time.Hour, MailboxBytes: 1000}), new(held)
		if b.Shared.SetRemote(remote); test.outcomes != nil {
			b.push("1")
			b.Serve(&b.writer)
			remote.done(test.outcomes)
		}
		offered := 0
		b.Shared.Retire = func(string) { offered++ }
		test.step(b, func(errs []error) { remote.done(errs) })
		if _, retired := b.Retire(); offered == 0 || !retired {
			t.Errorf("%s: retire was called %d times, the id was retired: %v", name, offered, retired)
		}
	}
}

// TestQuietIDKeepsNoSpare: a busy id keeps a spare chunk for its next message. The second beat
// after its last write frees that chunk.
func TestQuietIDKeepsNoSpare(t *testing.T) {
	b := newBench(t, backlog.Config{})
	b.attach()
	spare := func() bool {
		return !reflect.ValueOf(&b.Backlog).Elem().FieldByName("Log").FieldByName("spare").IsNil()
	}
	for range 2 {
		b.push("1")
		b.whole(b.take())
	}
	if !spare() {
		t.Error("a busy id keeps no chunk")
	}
	for range 2 {
		b.Beat(b.Shared.Line.Now(), 0)
	}
	if spare() {
		t.Error("a quiet id keeps a chunk")
	}
}

// TestNobodyIsSilentBehindABatch: while a batch is being forwarded no ping is sent, so a peer
// that does not answer must not count as silent.
func TestNobodyIsSilentBehindABatch(t *testing.T) {
	for travels, want := range map[bool]bool{true: false, false: true} {
		b, remote := newBench(t, backlog.Config{Heartbeat: time.Hour}), new(held)
		b.Shared.Line.Open(func(w *schedule.Writer) { // writes nothing
			for w.Next() {
			}
		})
		b.Shared.SetRemote(remote)
		b.push("1")
		b.Serve(&b.writer)
		link, _, _ := upgraded(t)
		conn := b.attachLink(link)
		if !travels {
			remote.done([]error{nil})
		}
		b.Beat(conn.Since+3*b.Shared.Heartbeat, 0)
		if removed := b.present() == nil; removed != want {
			t.Errorf("with a batch on its way: %v; the connection was removed: %v", travels, removed)
		}
	}
}
