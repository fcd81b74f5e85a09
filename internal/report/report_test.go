package report

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/tasks"
)

// TestFailTellsWhoAsks: of several messages reported together, some have a receipt. The receipt
// is called for those, and the hook for all others, in order. A message that came from another
// process and was cut must not have an outcome that lets it be sent again.
func TestFailTellsWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hook []string
		var counters outcome.Counters
		var all tasks.Tasks
		format := outbox.Format{Opcode: frame.Text, Newline: true}
		r := New(Hooks{Buffer: 10, Undelivered: func(id string, data []byte, err error) {
			hook = append(hook, id+" "+string(data)+" "+err.Error())
		}}, &counters, &all)
		asked := map[string]error{}
		var log outbox.Log
		for _, data := range []string{"1", "asked", "2", "nobody asks any more", "here", "3"} {
			m := &outbox.Message{Data: []byte(data), FromRemote: data == "here"}
			if len(data) > 1 {
				m.Receipt = &outbox.Receipt{Decide: func(err error) func() {
					if data == "nobody asks any more" {
						return nil
					}
					return func() {
						if data == "here" && counters.Read().Other != 1 {
							t.Error("the receipt is called before the outcome is counted")
						}
						asked[data] = err
					}
				}}
			}
			log.Append(m, format, false)
		}
		c := log.Pin(false)
		c.Cut = true
		r.Fail("a", c, outcome.ErrNotConnected)
		synctest.Wait()
		why := " " + outcome.ErrNotConnected.Error()
		if want := []string{"a 1" + why, "a 2" + why, "a nobody asks any more" + why, "a 3" + why}; !slices.Equal(hook, want) {
			t.Errorf("the hook: %q, want %q", hook, want)
		}
		if len(asked) != 2 || asked["asked"] != outcome.ErrNotConnected || asked["here"] != outcome.ErrCut {
			t.Errorf("the receipts: %v", asked)
		}
		if s := counters.Read(); s.Undelivered != 6 || s.NotConnected != 5 || s.Other != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestNothingIsCalledUnderTheLock: hooks and the logger must be free to use the Reporter.
func TestNothingIsCalledUnderTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counters outcome.Counters
		var all tasks.Tasks
		var r *Reporter
		var called []string
		call := func(what string) {
			if called = append(called, what); !r.mu.TryLock() {
				t.Errorf("%s is called under the lock", what)
				return
			}
			r.mu.Unlock()
		}
		r = New(Hooks{
			Buffer:      10,
			Undelivered: func(string, []byte, error) { call("the hook") },
			Presence:    func(string, string, bool) { call("Presence") },
			Logger:      slog.New(logger{slog.DiscardHandler, call}),
		}, &counters, &all)
		r.AskLogger()
		r.FailOne("a", outbox.Message{Data: []byte("1")}, outcome.ErrSlow)
		synctest.Wait() // no goroutine holds the lock while a call runs
		r.Receipt("a", func(error) { call("the outcome") }).Tell(nil)
		synctest.Wait()
		r.Moved("a", nil)
		synctest.Wait()
		if want := []string{"the hook", "the outcome", "the logger", "Presence"}; !slices.Equal(called, want) {
			t.Errorf("called: %v, want %v", called, want)
		}
	})
}

// A logger calls a function for each record.
type logger struct {
	slog.Handler
	call func(what string)
}

func (l logger) Enabled(context.Context, slog.Level) bool { return true }

func (l logger) Handle(context.Context, slog.Record) error { l.call("the logger"); return nil }

func (l logger) WithAttrs([]slog.Attr) slog.Handler { return l }

// TestHookMayAppend: a hook that appends to its message must not change another one.
func TestHookMayAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		var counters outcome.Counters
		var all tasks.Tasks
		format := outbox.Format{Opcode: frame.Text, Newline: true}
		r := New(Hooks{Buffer: 10, Undelivered: func(_ string, data []byte, _ error) {
			got = append(got, string(data))
			_ = append(data, make([]byte, 20)...)
		}}, &counters, &all)
		var log outbox.Log
		want := []string{strings.Repeat("1", 200), "2", "3"}
		for _, data := range want {
			log.Append(&outbox.Message{Data: []byte(data)}, format, false)
		}
		r.Fail("a", log.Pin(false), outcome.ErrSlow)
		if synctest.Wait(); !slices.Equal(got, want) {
			t.Errorf("called %q, want %q", got, want)
		}
	})
}

// TestAPanicEndsNothing: hooks continue after one that panics, and
// after one that ends its goroutine.
func TestAPanicEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counters outcome.Counters
		var all tasks.Tasks
		r := New(Hooks{Buffer: 10}, &counters, &all)
		called := 0
		for i := range 3 {
			r.Receipt("a", func(error) {
				if called++; i == 0 {
					panic(errors.New("in the application"))
				}
			}).Tell(nil)
		}
		if synctest.Wait(); called != 3 || !all.None() {
			t.Errorf("%d of 3 were called", called)
		}
	})
}
