package delivery

import (
	"context"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
	"github.com/nulijiabei/gcpool/internal/report"
)

// TestNoPingFollowsAGoodbye: after the close frame of Shutdown nothing is sent.
func TestNoPingFollowsAGoodbye(t *testing.T) {
	for life, want := range map[life]byte{open: frame.Ping, goodbye: 0} {
		b := newBench(t, Config{Heartbeat: time.Hour})
		b.group.Begin(drain)
		link, _, _ := upgraded(t)
		conn := b.attachLink(link)
		conn.life, b.cursor.turn = life, writing // so that no writer comes
		b.Beat(conn.since+b.group.Heartbeat*3/2, 0)
		if conn.control != want {
			t.Errorf("in life %d: opcode %d is due, want %d", life, conn.control, want)
		}
	}
}

// TestBeatRacedWithTakeover: a newer connection comes while a beat looks after a silent one.
func TestBeatRacedWithTakeover(t *testing.T) {
	for range 20 {
		b := newBench(t, Config{Heartbeat: time.Hour})
		b.group.Begin(drain)
		link, _, _ := upgraded(t)
		newer, _, _ := upgraded(t)
		silent := b.attachLink(link)
		silent.heard -= 3 * b.group.Heartbeat
		b.cursor.turn = writing // so that no writer comes
		var both sync.WaitGroup
		b.mu.Lock()
		both.Go(func() { b.Beat(b.group.line.Now(), 0) })
		time.Sleep(2 * time.Millisecond)
		both.Go(func() { b.Attach(newer, owners.Caller{}) })
		time.Sleep(2 * time.Millisecond)
		b.mu.Unlock()
		b.mu.Lock() // the beat has missed it: from now on those who wait get it in turn
		time.Sleep(2 * time.Millisecond)
		b.mu.Unlock()
		if both.Wait(); connOf(b.Recipient) != newer {
			t.Fatal("a beat has removed the newer connection")
		}
	}
}

// TestLostTimeIsNoSilence: while the process was stopped, no peer could be heard.
func TestLostTimeIsNoSilence(t *testing.T) {
	for lost, want := range map[time.Duration]bool{0: true, 2 * time.Hour: false} {
		b := newBench(t, Config{Heartbeat: time.Hour})
		b.group.Begin(drain)
		link, _, _ := upgraded(t)
		conn := b.attachLink(link)
		b.cursor.turn = writing // so that no writer comes
		b.Beat(conn.since+3*b.group.Heartbeat, lost)
		if removed := connOf(b.Recipient) == nil; removed != want {
			t.Errorf("silent for three hours, of which %v were lost: removed: %v", lost, removed)
		}
	}
}

// TestWhoHasGoneIsRetired: retire is called when the last reason to stay may have ended.
func TestWhoHasGoneIsRetired(t *testing.T) {
	for name, test := range map[string]struct {
		outcomes []error // of messages that were forwarded before
		step     func(b *bench, done func(errs []error))
	}{
		"a beat finds no connection": {nil, func(b *bench, _ func([]error)) { b.Beat(0, 0) }},
		"the last message has expired": {[]error{outcome.ErrNotConnected}, func(b *bench, _ func([]error)) {
			b.group.mailbox.Close()
			b.mail.Expire()
		}},
		"a batch was taken elsewhere": {[]error{nil}, func(b *bench, done func([]error)) {
			b.push("2")
			b.cursor.Serve(&b.writer)
			done([]error{nil})
		}},
	} {
		b, remote := newBench(t, Config{MailboxTTL: time.Hour, MailboxBytes: 1000}), new(held)
		if b.group.SetRemote(remote); test.outcomes != nil {
			b.push("1")
			b.cursor.Serve(&b.writer)
			remote.done(test.outcomes)
		}
		offered := 0
		b.group.retire = func(*Recipient) { offered++ }
		test.step(b, func(errs []error) { remote.done(errs) })
		if _, retired := b.Retire(); offered == 0 || !retired {
			t.Errorf("%s: retire was called %d times, nothing keeps it: %v", name, offered, retired)
		}
	}
}

// TestNoIDsNoBeat: the heartbeat ends when no id is left.
func TestNoIDsNoBeat(t *testing.T) {
	g := begun(Config{Heartbeat: 4 * time.Millisecond})
	g.Beat()
	dismissed(t, g)
}

// TestQuietIDKeepsNoSpare: an id keeps a chunk for its next message while it is busy, until
// the second beat after its last write.
func TestQuietIDKeepsNoSpare(t *testing.T) {
	b := newBench(t, Config{})
	b.attach()
	spare := func() bool { return !reflect.ValueOf(&b.log).Elem().FieldByName("spare").IsNil() }
	for range 2 {
		b.push("1")
		b.whole(b.take())
	}
	if !spare() {
		t.Error("a busy id keeps no chunk")
	}
	for range 2 {
		b.Beat(b.group.line.Now(), 0)
	}
	if spare() {
		t.Error("a quiet id keeps a chunk")
	}
}

// TestShutdownWaitsForABeat: Shutdown waits for a heartbeat that is running, so that no
// goroutine is left.
func TestShutdownWaitsForABeat(t *testing.T) {
	looks, free := make(chan bool), make(chan bool)
	var g *Group
	g = NewGroup(Config{Hooks: report.Hooks{Buffer: 1}, Outbox: 1, WriteTimeout: time.Second, Heartbeat: 4 * time.Millisecond}, func() []*Recipient {
		if !g.closed.Load() {
			looks <- true
			<-free
		}
		return nil
	}, func(*Recipient) {})
	g.Beat()
	<-looks
	g.Close()
	ended := make(chan error, 1)
	go func() { ended <- g.Shutdown(context.Background()) }()
	select {
	case <-ended:
		t.Error("Shutdown has ended, and a beat has not")
	case <-time.After(50 * time.Millisecond):
	}
	close(free)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	g.Beat() // no beat comes after Shutdown
	if !g.tasks.None() {
		t.Error("a beat is due after Shutdown")
	}
}
