package backlog

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/report"
	"github.com/nulijiabei/gcpool/internal/schedule"
)

// silent is a Remote that does nothing.
type silent struct{}

func (silent) Changed(_, _ string)                                   {}
func (silent) Forward(_, _ string, _ [][]byte, _ func(errs []error)) {}
func (silent) Broadcast(string, []byte) error                        { return nil }

// A setting is the state of a pool and of one id in it.
type setting struct {
	connected, mailbox, remote, before bool // before: Start has not been called
	overflow                           Overflow
}

// backlogWith returns the backlog of an id whose outbox holds 10 bytes.
func backlogWith(t *testing.T, set setting) *Backlog {
	c := Config{Hooks: report.Hooks{Buffer: 1000}, Outbox: 10, Overflow: set.overflow}
	if set.mailbox {
		c.MailboxTTL, c.MailboxBytes = time.Hour, 20
	}
	s, b := new(Shared), new(Backlog)
	s.Init(c, func(string) {})
	t.Cleanup(func() { s.Closed.Store(true); s.Mailbox.Trim(context.Background()) })
	if !set.before {
		s.Line.Open(func(*schedule.Writer) {})
	}
	if set.remote {
		s.SetRemote(silent{})
	}
	b.Init(s, "a")
	if set.connected {
		b.Connect()
	}
	return b
}

func (b *Backlog) accept(data string) (slow bool) {
	m := &outbox.Message{ID: "a", Data: []byte(data)}
	return b.Accept(m, b.Full(m))
}

// A place counts the messages in the outbox, in the mailbox, and reported as undelivered.
type place struct{ waiting, mailbox, reported int }

func placeOf(b *Backlog) place {
	return place{b.Outbox().Messages, b.Mail().Messages, int(b.Shared.Read().Undelivered)}
}

// TestWhereAMessageGoes pushes two messages of 6 bytes, so the second
// one does not fit in the outbox.
func TestWhereAMessageGoes(t *testing.T) {
	for name, test := range map[string]struct {
		setting
		want place
		full bool // Push must wait before the second one
		slow bool
	}{
		"connected":                 {setting{connected: true}, place{2, 0, 0}, true, true},
		"connected, drop oldest":    {setting{connected: true, overflow: DropOldest}, place{1, 0, 1}, true, false},
		"connected, drop newest":    {setting{connected: true, overflow: DropNewest}, place{1, 0, 1}, true, false},
		"connected, with a mailbox": {setting{connected: true, mailbox: true}, place{2, 0, 0}, true, true},
		"away":                      {setting{}, place{0, 0, 2}, false, false},
		"away, with a mailbox":      {setting{mailbox: true}, place{0, 2, 0}, false, false},
		"away, with a cluster":      {setting{remote: true}, place{2, 0, 0}, true, false},
		"both":                      {setting{mailbox: true, remote: true}, place{2, 0, 0}, true, false},
		"before Start":              {setting{before: true}, place{2, 0, 0}, false, false},
		"before Start, connected":   {setting{before: true, connected: true}, place{2, 0, 0}, false, false},
		"before Start, a mailbox":   {setting{before: true, mailbox: true}, place{2, 0, 0}, false, false},
	} {
		b := backlogWith(t, test.setting)
		slow := b.accept("123456")
		full := b.Full(&outbox.Message{ID: "a", Data: []byte("123456")})
		slow = b.accept("123456") || slow
		if got := placeOf(b); got != test.want || full != test.full || slow != test.slow {
			t.Errorf("%s: %+v, full %v, slow %v; want %+v, %v, %v", name, got, full, slow, test.want, test.full, test.slow)
		}
	}
}

// TestTheLargestMail: the mailbox takes a message of exactly its own size, and none larger.
func TestTheLargestMail(t *testing.T) {
	for size, want := range map[int]place{20: {0, 1, 0}, 21: {0, 0, 1}} {
		b := backlogWith(t, setting{mailbox: true})
		if b.accept(strings.Repeat("1", size)); placeOf(b) != want {
			t.Errorf("%d bytes: %+v, want %+v", size, placeOf(b), want)
		}
	}
}

// TestWhereWhatWaitsGoes removes a connection while two messages wait
// and the first of them is being written.
func TestWhereWhatWaitsGoes(t *testing.T) {
	elsewhere := func(b *Backlog) { b.Appeared() }
	for name, test := range map[string]struct {
		setting
		reason error
		behind place // while the write is under way
		left   bool
		want   place
		before func(b *Backlog)
	}{
		"deleted":                 {setting{}, outcome.ErrDeleted, place{2, 0, 0}, false, place{0, 0, 2}, nil},
		"deleted, with a mailbox": {setting{mailbox: true}, outcome.ErrDeleted, place{1, 1, 0}, true, place{0, 2, 0}, nil},
		"deleted, with a cluster": {setting{remote: true}, outcome.ErrDeleted, place{2, 0, 0}, false, place{0, 0, 2}, nil},
		"deleted, once elsewhere": {setting{remote: true}, outcome.ErrDeleted, place{2, 0, 0}, false, place{0, 0, 2}, elsewhere},
		"moved":                   {setting{remote: true}, outcome.ErrMoved, place{2, 0, 0}, true, place{2, 0, 0}, nil},
		"moved, and a mailbox":    {setting{remote: true, mailbox: true}, outcome.ErrMoved, place{2, 0, 0}, true, place{2, 0, 0}, nil},
		"moved, the cluster left": {setting{}, outcome.ErrMoved, place{2, 0, 0}, false, place{0, 0, 2}, nil},
	} {
		b := backlogWith(t, test.setting)
		if test.before != nil {
			test.before(b)
		}
		b.Connect()
		b.accept("1")
		chunk := b.Log.Pin(false)
		b.Log.Append(&outbox.Message{ID: "a", Data: []byte("2")}, b.Shared.format, false)
		b.Shared.Accepted.Add(1, 1)
		b.Disconnect(test.reason)
		if got := placeOf(b); got != test.behind {
			t.Errorf("%s: during the write %+v, want %+v", name, got, test.behind)
		}
		left := b.Settle(chunk, 0, 0, test.reason, false)
		if left {
			b.Disconnect(test.reason)
		}
		if got := placeOf(b); got != test.want || left != test.left {
			t.Errorf("%s: %+v, left %v; want %+v, %v", name, got, left, test.want, test.left)
		}
	}
}

// TestRemovalClosesTheLogThere: messages that a removal loses during a write are reported after
// the write, each with the reason of its own removal. Messages added after the removal wait.
func TestRemovalClosesTheLogThere(t *testing.T) {
	b := backlogWith(t, setting{connected: true})
	var told []error
	accept := func(data string) {
		b.Accept(&outbox.Message{ID: "a", Data: []byte(data), Receipt: &outbox.Receipt{Decide: func(err error) func() {
			return func() { told = append(told, fmt.Errorf("%s: %w", data, err)) }
		}}}, false)
	}
	accept("1")
	pinned := b.Log.Pin(false)
	for i, reason := range []error{outcome.ErrDeleted, outcome.ErrSilent} {
		accept(fmt.Sprint(2 + i))
		b.Disconnect(reason)
		b.Connect()
	}
	accept("4")
	if n := b.Log.Waiting().Messages; len(told) != 0 || n != 1 || b.Log.Messages != 4 {
		t.Errorf("before the write has ended: %v; %d messages wait of %d", told, n, b.Log.Messages)
	}
	b.Settle(pinned, 0, 0, outcome.ErrSlow, false)
	if want := "[1: gcpool: peer too slow 2: gcpool: connection deleted 3: gcpool: peer silent for two heartbeats]"; fmt.Sprint(told) != want {
		t.Errorf("reported: %v, want %s", told, want)
	}
	if n := b.Log.Waiting().Messages; n != 1 || b.Log.Messages != 1 {
		t.Errorf("%d messages wait of %d, want the last", n, b.Log.Messages)
	}
}

// TestCountsAddUp: after each step, every accepted message either has an outcome or waits.
func TestCountsAddUp(t *testing.T) {
	b := backlogWith(t, setting{connected: true, mailbox: true, remote: true})
	steps := []func(){
		func() { b.accept("1") }, func() { b.Settle(b.Log.Pin(false), 2, 0, nil, false) }, func() { b.Disconnect(outcome.ErrDeleted) },
		func() { b.accept("2") }, func() { b.Returned(b.Load(), []error{outcome.ErrNotConnected}) },
		func() { b.accept("3") }, b.Appeared, func() { b.Returned(b.Load(), []error{nil, outcome.ErrMoved}) },
		func() { b.Load() }, func() { b.Abandon(0, outcome.ErrClosed) },
		func() { b.Connect(); b.accept("4") }, func() { b.Log.Pin(false); b.Abandon(3, outcome.ErrSlow) },
	}
	for i, step := range steps {
		step()
		all, mail := b.Log.Count, b.Mail()
		if s := b.Shared.Read(); s.Waiting != all.Messages || s.WaitingBytes != all.Bytes || mail.Messages > all.Messages || mail.Bytes > all.Bytes {
			t.Errorf("after step %d: %+v, in the mailbox %+v: %+v", i, all, mail, s)
		}
	}
	if !b.Log.Empty() {
		t.Error("something is left")
	}
}

// TestWhatAllShareStaysEmpty: ids that have never had mail or a batch share one empty absence,
// and no step may change it.
func TestWhatAllShareStaysEmpty(t *testing.T) {
	b := backlogWith(t, setting{connected: true})
	b.accept("1")
	b.Log.Pin(false)
	b.Abandon(0, outcome.ErrSlow)
	b.Disconnect(outcome.ErrDeleted)
	b.WithoutRemote(outcome.ErrNotConnected)
	b.Connect()
	if b.absence != &noAbsence {
		t.Error("the id has an absence of its own")
	}
	if a := &noAbsence; a.lost != nil || a.mail != (outbox.Count{}) || a.from.Load() != 0 || a.due != forwardNone || a.share != 0 || a.batch != nil || a.backlog != nil {
		t.Errorf("%+v", a)
	}
}
