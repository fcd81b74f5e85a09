package promises

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestAddFuncTellsTheOutcomeOnce: whatever the outcome of a message, its function is called
// once, and the hook is not called.
func TestAddFuncTellsTheOutcomeOnce(t *testing.T) {
	kept := gcpool.WithMailbox(time.Minute, 1000)
	for name, test := range map[string]struct {
		opt   gcpool.Option
		after func(t *testing.T, p *gcpool.Pool, conns *gcpool.ConnPool)
		want  error
	}{
		"written": {nil, func(t *testing.T, _ *gcpool.Pool, conns *gcpool.ConnPool) {
			go io.Copy(io.Discard, pipe(t, conns, "a"))
		}, nil},
		"deleted": {nil, func(t *testing.T, _ *gcpool.Pool, conns *gcpool.ConnPool) {
			pipe(t, conns, "a")
			conns.Kick("a", 1000, "")
		}, gcpool.ErrDeleted},
		"kept, and written": {kept, func(t *testing.T, p *gcpool.Pool, conns *gcpool.ConnPool) {
			p.Start()
			time.Sleep(time.Second)
			go io.Copy(io.Discard, pipe(t, conns, "a"))
		}, nil},
		"kept, and expired": {kept, nil, gcpool.ErrExpired},
		"kept, until the end": {kept, func(_ *testing.T, p *gcpool.Pool, _ *gcpool.ConnPool) {
			p.Start()
			time.Sleep(time.Second)
			shutdown(p, time.Second)
		}, gcpool.ErrClosed},
		"larger than a mailbox": {gcpool.WithMailbox(time.Minute, 1), nil, gcpool.ErrNotConnected},
		"away":                  {nil, nil, gcpool.ErrNotConnected},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r reports
				p, conns, stream := idle(t, gcpool.WithUndelivered(r.hook), test.opt)
				var outcomes []error
				if err := stream.AddFunc("a", []byte("hello"), func(err error) { outcomes = append(outcomes, err) }); err != nil {
					t.Fatal(err)
				}
				if test.after != nil {
					test.after(t, p, conns)
				}
				p.Start()
				synctest.Wait()
				time.Sleep(time.Hour)
				synctest.Wait()
				if len(outcomes) != 1 || !errors.Is(outcomes[0], test.want) || (outcomes[0] == nil) != (test.want == nil) {
					t.Errorf("the outcomes are %v, want %v", outcomes, test.want)
				}
				equal(t, "the hook", r.take(t, nil), nil)
				s := p.Stats()[0]
				if s.Accepted != 1 || s.Written+s.Undelivered != 1 || (s.Written == 1) != (test.want == nil) {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// TestAddFuncIsToldInOrder: the functions are called in order with the hooks and with other
// functions, one call at a time. A panic in one does not stop the rest.
func TestAddFuncIsToldInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []string
		var inside atomic.Int32
		tell := func(what string) {
			if inside.Add(1) != 1 {
				t.Error("two calls at once")
			}
			time.Sleep(time.Millisecond)
			calls = append(calls, what)
			inside.Add(-1)
		}
		_, conns, stream := started(t,
			gcpool.WithUndelivered(func(u gcpool.Undelivered) { tell("hook " + string(u.Data)) }),
			gcpool.WithPresence(func(_, id string, connected bool) { tell(fmt.Sprint(id, " ", connected)) }))
		peer := pipe(t, conns, "a")
		go io.Copy(io.Discard, peer)
		for i := range 3 {
			err := stream.AddFunc("a", []byte("x"), func(err error) {
				tell(fmt.Sprint(i, " ", err))
				if i == 1 {
					panic("in the application")
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		add(t, stream, "b", "away")
		time.Sleep(time.Second)
		synctest.Wait()
		if want := []string{"a true", "0 <nil>", "1 <nil>", "2 <nil>", "hook away"}; !slices.Equal(calls, want) {
			t.Errorf("called %q, want %q", calls, want)
		}
	})
}

// TestAddFuncCountsInWithBuffer: a slow function makes Add wait, as a slow hook does.
func TestAddFuncCountsInWithBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, stream := started(t, gcpool.WithBuffer(2))
		free := make(chan bool)
		for range 4 { // one call runs, two wait, and one is added
			if err := stream.AddFunc("a", nil, func(error) { <-free }); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := stream.AddContext(ctx, "b", nil); err != context.DeadlineExceeded {
			t.Errorf("Add during a slow outcome: %v", err)
		}
		close(free)
		add(t, stream, "b", "")
	})
}

// TestAddFuncRefuses: AddFunc refuses what Add refuses, and a nil
// function. It then calls no function.
func TestAddFuncRefuses(t *testing.T) {
	p, _, stream := started(t)
	never := func(err error) { t.Errorf("an outcome: %v", err) }
	var none *gcpool.StreamPool
	for what, got := range map[string]struct{ err, want error }{
		"an empty id":     {stream.AddFunc("", nil, never), gcpool.ErrInvalid},
		"a nil function":  {stream.AddFunc("a", nil, nil), gcpool.ErrInvalid},
		"a large message": {stream.AddFunc("a", make([]byte, 1<<20+1), never), gcpool.ErrTooLarge},
		"no pool":         {none.AddFunc("a", nil, never), gcpool.ErrNotRegistered},
	} {
		if !errors.Is(got.err, got.want) {
			t.Errorf("%s: %v, want %v", what, got.err, got.want)
		}
	}
	shutdown(p, time.Second)
	if err := stream.AddFunc("a", nil, never); err != gcpool.ErrClosed {
		t.Errorf("after Shutdown: %v", err)
	}
}
