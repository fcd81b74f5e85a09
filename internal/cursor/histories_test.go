package cursor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
)

// TestHistories runs random histories of one id: pushes; connections that are slow, stuck or
// broken; removals; a cluster that comes, gives any answer and leaves; beats; Start and
// Shutdown. After each step the cursor must not idle while something is due, and the counts
// must add up. At the end nothing waits, and the messages were received in order.
func TestHistories(t *testing.T) {
	histories := uint64(4000)
	if testing.Short() {
		histories = 500
	}
	for seed := range histories {
		synctest.Test(t, func(t *testing.T) {
			h := newHistory(t, seed)
			for range 5 + h.rnd.IntN(40) {
				h.step()
				h.check()
			}
			h.end()
		})
		if t.Failed() {
			return
		}
	}
}

// A history is what has happened to one id so far.
type history struct {
	*testing.T
	*id
	rnd    *rand.Rand
	pushed int
	steps  []string

	mu       sync.Mutex
	received []int // the numbers of messages, wherever they arrived
	answers  *rand.Rand
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{T: t, rnd: rand.New(rand.NewPCG(seed, 1)), answers: rand.New(rand.NewPCG(seed, 2)), steps: []string{fmt.Sprint("seed ", seed)}}
	c := backlog.Config{WriteTimeout: 100 * time.Millisecond, Heartbeat: 50 * time.Millisecond, Overflow: backlog.Overflow(h.rnd.IntN(3))}
	if h.rnd.IntN(2) == 0 {
		c.MailboxTTL, c.MailboxBytes = 200*time.Millisecond, 300
	}
	h.id = newID(shared(c))
	if h.Shared.Outbox = 100; h.rnd.IntN(3) > 0 {
		h.Shared.Line.Open(drain)
	}
	return h
}

func (h *history) step() {
	d := time.Duration(h.rnd.IntN(60)) * time.Millisecond
	step := [...]struct {
		name string
		do   func()
	}{
		{"push", h.push}, {"push", h.push}, {"push", h.push}, {"push", h.push},
		{"attach", func() { h.attach(NewConnection(&fickle{h: h, mode: h.rnd.IntN(6), gone: make(chan bool)}, false)) }},
		{"remove", func() { h.Remove(owners.Caller{}, frame.StatusNormal) }},
		{"evict", func() { h.Detach(h.present(), outcome.ErrMoved, frame.StatusReplaced) }},
		{"appear", func() { appeared(h.id) }},
		{"join", func() { h.Shared.SetRemote(h) }},
		{"leave", func() { h.Shared.SetRemote(nil); h.Cursor.WithoutRemote(outcome.ErrNotConnected, false) }},
		{"beat", func() { h.Beat(h.Shared.Line.Now()+2*d, 0) }},
		{"start", func() { h.Shared.Line.Open(drain) }},
		{"wait", synctest.Wait},
		{"sleep", func() { time.Sleep(d) }},
	}[h.rnd.IntN(14)]
	h.steps = append(h.steps, step.name)
	step.do()
}

// push adds a message, from here or from another process, if it has
// room, and sometimes even if it has none.
func (h *history) push() {
	h.pushed++
	m := &outbox.Message{ID: "a", Data: fmt.Append(nil, strings.Repeat(" ", h.rnd.IntN(30)), h.pushed, " ")}
	if m.FromRemote = h.rnd.IntN(5) == 0; m.FromRemote {
		m.Receipt = &outbox.Receipt{Decide: func(error) func() { return func() {} }}
	}
	h.Lock()
	full, refused := h.Full(m), m.FromRemote && (!h.Connected || h.Travels())
	if !refused && (!full || h.rnd.IntN(3) == 0) && h.Accept(m, full) {
		h.RemoveLocked(outcome.ErrSlow, frame.Status{})
	}
	write := h.InlineLocked()
	h.Unlock()
	if write != nil {
		write()
	}
	h.Shared.Mailbox.Fit(0)
}

// check checks that the cursor and the backlog are in a legal state.
func (h *history) check() {
	h.Lock()
	defer h.Unlock()
	if h.turn == idle && h.due() {
		h.fail("idle, and something is due")
	}
	if h.Connected != (h.conn != nil) || h.Travels() && (h.turn != writing || h.flight != nil) {
		h.fail("turn %d, connected %v, travels %v, a write %v", h.turn, h.Connected, h.Travels(), h.flight != nil)
	}
	all, mail := h.id.Log.Count, h.Mail()
	if s := h.Shared.Read(); s.Waiting != all.Messages || s.WaitingBytes != all.Bytes {
		h.fail("%d messages of %d bytes: %+v", all.Messages, all.Bytes, s)
	}
	if mail.Messages < 0 || mail.Bytes < 0 || mail.Messages > all.Messages || mail.Bytes > all.Bytes || h.Connected && mail.Messages > 0 {
		h.fail("%d of %d messages are in the mailbox, %d of %d bytes", mail.Messages, all.Messages, mail.Bytes, all.Bytes)
	}
}

func (h *history) fail(format string, args ...any) {
	h.Errorf("%v: %s", h.steps, fmt.Sprintf(format, args...))
}

// end either shuts down, or connects a peer that reads everything.
func (h *history) end() {
	h.Shared.Line.Open(drain)
	shut := h.rnd.IntN(2) == 0
	if shut {
		h.Shared.Close()
		for i := range 100 {
			h.Leave(i > 30, i > 90)
			h.Shared.Mailbox.Trim(context.Background())
			time.Sleep(20 * time.Millisecond)
		}
	} else {
		h.attach(NewConnection(&fickle{h: h, gone: make(chan bool)}, false))
		time.Sleep(20 * time.Second)
	}
	h.check()
	if _, retired := h.Retire(); retired != shut || h.Shared.Read().Waiting > 0 || h.mail() != [2]int{} {
		h.fail("in the end, shut down %v: retired %v, %v in the mailbox, %+v", shut, retired, h.mail(), h.Shared.Read())
	}
	h.mu.Lock()
	once := slices.Compact(slices.Sorted(slices.Values(h.received)))
	if !slices.Equal(once, h.received) {
		h.fail("received in this order: %v", h.received)
	}
	h.mu.Unlock()
	if h.Shared.Cut(); !shut {
		h.Shared.Close()
	}
	time.Sleep(20 * time.Second)
}

func (h *history) take(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, text := range strings.Fields(string(p)) {
		n, _ := strconv.Atoi(text)
		h.received = append(h.received, n)
	}
}

// A fickle is a connection of one of six kinds: 0 takes all at once, 1 and 2 are slow, 3 is
// stuck until it is closed, 4 fails, and 5 ignores deadlines and Close for long.
type fickle struct {
	sleepy
	h    *history
	mode int
	gone chan bool
	once sync.Once
}

func (f *fickle) Write(p []byte) (int, error) {
	took := [...]time.Duration{0, 3 * time.Millisecond, 30 * time.Millisecond, time.Hour, time.Millisecond, 5 * time.Second}[f.mode]
	gone := f.gone
	if f.mode == 5 {
		gone = nil
	}
	select {
	case <-time.After(took):
	case <-gone:
	}
	select {
	case <-f.gone:
		return 0, errors.New("closed")
	default:
	}
	if f.mode > 3 {
		return 0, errors.New("failed")
	}
	f.h.take(p)
	return len(p), nil
}

func (f *fickle) Close() error { f.once.Do(func() { close(f.gone) }); return nil }

func (h *history) Changed(_, _ string)            {}
func (h *history) Broadcast(string, []byte) error { return nil }

// Forward takes a part of the batch, and gives any answer for the rest, now or later.
func (h *history) Forward(_, _ string, batch [][]byte, done func([]error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rest := [...]error{nil, outcome.ErrNotConnected, outcome.ErrMoved, errors.New("lost")}[h.answers.IntN(4)]
	taken, d := h.answers.IntN(len(batch)+1), time.Duration(1+h.answers.IntN(20))*time.Millisecond
	time.AfterFunc(d, func() {
		errs := make([]error, len(batch))
		for i, data := range batch {
			if i >= taken {
				errs[i] = rest
			}
			if errs[i] == nil {
				h.take(data)
			}
		}
		done(errs)
	})
}
