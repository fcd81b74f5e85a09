package report

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/tasks"
)

// TestFailTellsWhoAsks: of messages that are reported together, some have somebody who asks
// for the outcome. That one is told, and the hook of all others, in order. A message that came
// from elsewhere and was cut has no outcome that lets it be sent again.
func TestFailTellsWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hook []string
		var counters outcome.Counters
		var all tasks.Tasks
		format := outbox.Format{Opcode: frame.Text, Newline: true}
		r := New(Hooks{Buffer: 10, Undelivered: func(id string, data []byte, err error) {
			hook = append(hook, id+" "+string(data)+" "+err.Error())
		}}, format, &counters, &all)
		asked := map[string]error{}
		log := outbox.NewLog(format)
		for _, data := range []string{"1", "asked", "2", "nobody asks any more", "here", "3"} {
			m := &outbox.Message{Data: []byte(data), Here: data == "here"}
			if len(data) > 1 {
				m.Receipt = &outbox.Receipt{Decide: func(err error) func() {
					if data == "nobody asks any more" {
						return nil
					}
					return func() { asked[data] = err }
				}}
			}
			log.Append(m, false)
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
			t.Errorf("asked: %v", asked)
		}
		if s := counters.Read(); s.Undelivered != 6 || s.NotConnected != 5 || s.Other != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// TestAPanicEndsNothing: the hooks go on after one that panics, and after one that ends its
// goroutine.
func TestAPanicEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counters outcome.Counters
		var all tasks.Tasks
		r := New(Hooks{Buffer: 10}, outbox.Format{}, &counters, &all)
		told := 0
		for i := range 3 {
			r.Receipt("a", func(error) {
				if told++; i == 0 {
					panic(errors.New("in the application"))
				}
			}).Tell(nil)
		}
		if synctest.Wait(); told != 3 || !all.None() {
			t.Errorf("%d of 3 were told", told)
		}
	})
}
