package promises

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// idle returns a pool that has not been started, its connections and its stream.
func idle(t *testing.T, opts ...gcpool.Option) (*gcpool.Pool, *gcpool.ConnPool, *gcpool.StreamPool) {
	t.Helper()
	p := gcpool.NewPool(append([]gcpool.Option{gcpool.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err := p.Register(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shutdown(p, time.Second) })
	return known(p)
}

// peerOf connects id over memory, and returns a reader of what arrives within an hour.
func peerOf(t *testing.T, c *gcpool.ConnPool, id string) *bufio.Reader {
	t.Helper()
	peer := pipe(t, c, id)
	peer.SetReadDeadline(time.Now().Add(time.Hour))
	return bufio.NewReader(peer)
}

// TestUnknownIDsAreDecidedAtStart: messages for unknown ids have their outcome at
// Start, not before.
func TestUnknownIDsAreDecidedAtStart(t *testing.T) {
	for what, test := range map[string]struct {
		mailbox int // bytes
		connect bool
		reason  error // nil if nothing is reported
	}{
		"connected by then":         {connect: true},
		"connected, and a mailbox":  {mailbox: 1000, connect: true},
		"mailbox":                   {mailbox: 1000},
		"too large for the mailbox": {mailbox: 3, reason: gcpool.ErrNotConnected},
		"nowhere":                   {reason: gcpool.ErrNotConnected},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r reports
				p, conns, stream := idle(t, gcpool.WithMailbox(time.Hour, test.mailbox), gcpool.WithUndelivered(r.hook))
				var want, reported []string
				for i := range 100 {
					want = append(want, fmt.Sprintf("message %d", i))
					reported = append(reported, "a "+want[i])
					add(t, stream, "a", want[i])
				}
				time.Sleep(10 * time.Minute)
				if s := p.Stats()[0]; s.Waiting != 100 || stream.Len() != 1 {
					t.Errorf("before Start: %+v, Len %d", s, stream.Len())
				}
				if test.connect {
					peer := peerOf(t, conns, "a")
					p.Start()
					equal(t, "received", lines(t, peer, 100), want)
					return
				}
				p.Start()
				synctest.Wait()
				if stream.Len() != 0 {
					t.Errorf("Len %d after Start", stream.Len())
				}
				if test.reason != nil {
					equal(t, "reported", r.take(t, test.reason), reported)
					settled(t, p)
					return
				}
				equal(t, "reported", r.take(t, nil), nil)
				equal(t, "received", lines(t, peerOf(t, conns, "a"), 100), want)
			})
		})
	}
}

// TestMailboxKeepsSinceStart: for messages added before Start, the
// time in the mailbox counts from Start.
func TestMailboxKeepsSinceStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, _, stream := idle(t, gcpool.WithMailbox(time.Minute, 1000), gcpool.WithUndelivered(r.hook))
		add(t, stream, "a", "1")
		time.Sleep(10 * time.Minute)
		p.Start()
		time.Sleep(time.Minute - 1)
		synctest.Wait()
		equal(t, "too early", r.take(t, nil), nil)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		equal(t, "expired", r.take(t, gcpool.ErrExpired), []string{"a 1"})
	})
}

// TestDeliverBeforeStart: Deliver returns the outcome that its message gets at Start.
func TestDeliverBeforeStart(t *testing.T) {
	for mailbox, want := range map[int]error{0: gcpool.ErrNotConnected, 1000: gcpool.ErrKept} {
		synctest.Test(t, func(t *testing.T) {
			p, _, stream := idle(t, gcpool.WithMailbox(time.Hour, mailbox))
			start := time.Now()
			time.AfterFunc(time.Minute, p.Start)
			if err := stream.Deliver(t.Context(), "a", []byte("x")); err != want || time.Since(start) != time.Minute {
				t.Errorf("Deliver: %v after %v, want %v", err, time.Since(start), want)
			}
		})
	}
}

// TestForgottenStartIsTold: the error of a call that waited for Start without success says that
// Start has not been called.
func TestForgottenStartIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := idle(t, gcpool.WithBuffer(2))
		pipe(t, conns, "here")
		for _, test := range []struct {
			call string
			do   func(ctx context.Context) error
		}{
			{"Deliver", func(ctx context.Context) error { return stream.Deliver(ctx, "here", []byte("1")) }},
			{"Deliver to nobody", func(ctx context.Context) error { return stream.Deliver(ctx, "away", []byte("2")) }},
			{"AddContext beyond WithBuffer", func(ctx context.Context) error { return stream.AddContext(ctx, "here", []byte("3")) }},
			{"BroadcastContext beyond WithBuffer", func(ctx context.Context) error { return stream.BroadcastContext(ctx, []byte("4")) }},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := test.do(ctx)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Start has not been called") {
				t.Errorf("%s: %v", test.call, err)
			}
		}
		p.Start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := stream.Deliver(ctx, "here", []byte("5")); err != context.DeadlineExceeded { // the peer does not read
			t.Errorf("after Start: %v", err)
		}
	})
}

// TestTakeoverBeforeStart: the newest connection gets all messages, the old one gets none.
func TestTakeoverBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := idle(t)
		old := pipe(t, conns, "a")
		add(t, stream, "a", "1")
		peer := peerOf(t, conns, "a")
		add(t, stream, "a", "2")
		if got, err := io.ReadAll(old); len(got) > 0 || err != nil {
			t.Errorf("the old connection received %q, %v", got, err)
		}
		p.Start()
		add(t, stream, "a", "3")
		equal(t, "received", lines(t, peer, 3), []string{"1", "2", "3"})
	})
}

// TestRemovalBeforeStart: a removal reports the waiting messages at once, or puts them
// in the mailbox. Messages added later wait behind them for Start.
func TestRemovalBeforeStart(t *testing.T) {
	for how, remove := range map[string]func(c *gcpool.ConnPool){
		"Del":  func(c *gcpool.ConnPool) { c.Del("a") },
		"Kick": func(c *gcpool.ConnPool) { c.Kick("a", 4000, "") },
	} {
		for _, mailbox := range []int{0, 1000} {
			synctest.Test(t, func(t *testing.T) {
				var r reports
				p, conns, stream := idle(t, gcpool.WithMailbox(time.Hour, mailbox), gcpool.WithUndelivered(r.hook))
				pipe(t, conns, "a")
				add(t, stream, "a", "1")
				add(t, stream, "a", "2")
				remove(conns)
				add(t, stream, "a", "3")
				synctest.Wait()
				reported, want := []string(nil), []string{"1", "2", "3"}
				if mailbox == 0 {
					reported, want = []string{"a 1", "a 2"}, want[2:]
				}
				equal(t, how+" reported", r.take(t, gcpool.ErrDeleted), reported)
				if mailbox > 0 {
					if err := stream.Deliver(t.Context(), "a", []byte("4")); err != gcpool.ErrKept {
						t.Errorf("%s, and Deliver behind what is kept: %v", how, err)
					}
					want = append(want, "4")
				}
				peer := peerOf(t, conns, "a")
				p.Start()
				equal(t, how+" left", lines(t, peer, len(want)), want)
			})
		}
	}
}

// TestBroadcastBeforeStart: a Broadcast goes to the ids that are connected when it is
// called, one message for each.
func TestBroadcastBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, conns, stream := idle(t, gcpool.WithBuffer(3), gcpool.WithMailbox(time.Hour, 1000))
		a, b := peerOf(t, conns, "a"), peerOf(t, conns, "b")
		add(t, stream, "late", "1")
		if err := stream.Broadcast([]byte("all")); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats()[0]; s.Accepted != 3 || s.Waiting != 3 || stream.Len() != 3 {
			t.Errorf("%+v, Len %d", s, stream.Len())
		}
		late := peerOf(t, conns, "late")
		add(t, stream, "late", "2") // takes the third place; the Broadcast takes only one
		p.Start()
		equal(t, "a", lines(t, a, 1), []string{"all"})
		equal(t, "b", lines(t, b, 1), []string{"all"})
		equal(t, "late", lines(t, late, 2), []string{"1", "2"})
	})
}

// TestAddBeyondTheBuffer: with a full buffer, Add waits until Start, until its context ends, or
// until Shutdown. Reports made in the meantime free no room.
func TestAddBeyondTheBuffer(t *testing.T) {
	push := map[string]func(ctx context.Context, s *gcpool.StreamPool) error{
		"Add":       func(ctx context.Context, s *gcpool.StreamPool) error { return s.AddContext(ctx, "a", []byte("2")) },
		"Broadcast": func(ctx context.Context, s *gcpool.StreamPool) error { return s.BroadcastContext(ctx, []byte("2")) },
		"Receive": func(_ context.Context, s *gcpool.StreamPool) error {
			_, err := local(s).Receive(name, "", [][]byte{[]byte("2")}, nil)
			return err
		},
	}
	for end, want := range map[string]error{"Start": nil, "ctx": context.Canceled, "Shutdown": gcpool.ErrClosed} {
		for what, push := range push {
			if end == "ctx" && what == "Receive" {
				continue // Receive takes no context
			}
			synctest.Test(t, func(t *testing.T) {
				p, conns, stream := idle(t, gcpool.WithBuffer(1))
				pipe(t, conns, "a")
				add(t, stream, "a", "1")
				conns.Del("a")
				peer := pipe(t, conns, "a")
				go io.Copy(io.Discard, peer)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				start := time.Now()
				time.AfterFunc(time.Minute, func() {
					switch end {
					case "Start":
						p.Start()
					case "ctx":
						cancel()
					case "Shutdown":
						shutdown(p, time.Second)
					}
				})
				err := push(ctx, stream)
				if end == "ctx" {
					err = errors.Unwrap(err) // the outer error says that Start has not been called
				}
				if err != want || time.Since(start) != time.Minute {
					t.Errorf("%s, ended by %s: %v after %v", what, end, err, time.Since(start))
				}
				synctest.Wait()
				if s := p.Stats()[0]; s.Accepted != s.Deleted+s.Written || (s.Written == 1) != (want == nil) {
					t.Errorf("%s, ended by %s: %+v", what, end, s)
				}
			})
		}
	}
}

// TestShutdownWakesABroadcastToNobody: Shutdown ends a waiting Broadcast that has no
// connections to go to. The Broadcast does not go to a cluster either.
func TestShutdownWakesABroadcastToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, stream := idle(t, gcpool.WithBuffer(1))
		c := new(far)
		p.SetCluster(c)
		add(t, stream, "a", "1")
		time.AfterFunc(time.Minute, func() { shutdown(p, time.Second) })
		if err := stream.Broadcast([]byte("2")); err != gcpool.ErrClosed {
			t.Errorf("Broadcast: %v", err)
		}
		synctest.Wait()
		equal(t, "elsewhere", c.take(), []string{"a 1"})
	})
}

// TestShutdownWithoutStart: Shutdown delivers the waiting messages, and reports those
// for ids that are not connected.
func TestShutdownWithoutStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reports
		p, conns, stream := idle(t, gcpool.WithMailbox(time.Hour, 1000), gcpool.WithUndelivered(r.hook))
		peer := pipe(t, conns, "a")
		add(t, stream, "a", "1")
		add(t, stream, "away", "2")
		stream.Broadcast([]byte("3"))
		got := make(chan string)
		go func() { all, _ := io.ReadAll(peer); got <- string(all) }()
		if err := shutdown(p, time.Minute); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if all := <-got; all != "1\n3\n" {
			t.Errorf("received %q", all)
		}
		equal(t, "reported", r.take(t, gcpool.ErrNotConnected), []string{"away 2"})
		settled(t, p)
	})
}
