package cursor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/frame"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/owners"
)

// A trip is a Remote that forwards one message at a time and reads its outcome from the channel.
type trip chan error

func (t trip) Changed(_, _ string)            {}
func (t trip) Broadcast(string, []byte) error { return nil }

func (t trip) Forward(_, _ string, batch [][]byte, done func([]error)) {
	go func() {
		errs := make([]error, len(batch))
		for i := range errs {
			errs[i] = <-t
		}
		done(errs)
	}()
}

// A broken connection fails its write on a signal, without having taken a byte.
type broken struct {
	sleepy
	fail chan bool
}

func (b *broken) Write([]byte) (int, error) { <-b.fail; return 0, errors.New("broken") }

// appeared reports that r's id is connected elsewhere.
func appeared(r *id) {
	r.Lock()
	defer r.Unlock()
	r.Appeared()
	r.WakeLocked()
}

// TestMailBehindWhatIsLeft: an id disconnects during a write, and the messages waiting behind
// the write go to the mailbox. Then the write fails with a part left, and everything is
// forwarded. The mailbox must count none of it.
func TestMailBehindWhatIsLeft(t *testing.T) {
	for name, left := range map[string]func(r *id, remote trip, push func(n int)){
		"by a connection": func(r *id, remote trip, push func(n int)) {
			b := &broken{fail: make(chan bool)}
			r.attach(NewConnection(b, false))
			push(10)
			synctest.Wait()
			push(500)
			r.Remove(owners.Caller{}, frame.StatusNormal)
			appeared(r)
			b.fail <- true
		},
		"by a batch": func(r *id, remote trip, push func(n int)) {
			push(10)
			synctest.Wait()
			r.attach(NewConnection(&sleepy{}, false))
			push(500)
			r.Remove(owners.Caller{}, frame.StatusNormal)
			appeared(r)
			remote <- outcome.ErrNotConnected
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := begun(backlog.Config{WriteTimeout: time.Second, MailboxTTL: time.Hour, MailboxBytes: 1000})
				remote := make(trip, 2)
				g.SetRemote(remote)
				r := newID(g)
				left(r, remote, func(n int) { r.push(strings.Repeat("x", n)) })
				synctest.Wait()
				remote <- nil
				remote <- nil
				synctest.Wait()
				if s := g.Read(); s.Forwarded != 2 || s.Waiting != 0 {
					t.Fatalf("forwarded %d, waiting %d; want 2 and 0", s.Forwarded, s.Waiting)
				}
				if r.mail() != [2]int{} {
					t.Errorf("%d messages and %d bytes are still counted in the mailbox", r.mail()[0], r.mail()[1])
				}
			})
		})
	}
}

// TestTheRemoteLeavesAsThePoolCloses: a closed pool keeps nothing for an id that is away.
// Messages that it gives up when its cluster leaves must not stay counted in the mailbox.
func TestTheRemoteLeavesAsThePoolCloses(t *testing.T) {
	g := begun(backlog.Config{MailboxTTL: time.Hour, MailboxBytes: 1000})
	r := newID(g)
	for range 2 {
		r.push("x")
	}
	g.Closed.Store(true)
	r.Cursor.WithoutRemote(outcome.ErrNotConnected, false)
	g.Mailbox.Trim(context.Background())
	if s := g.Read(); s.Undelivered != 2 || s.Waiting != 0 || r.mail() != [2]int{} {
		t.Errorf("%d undelivered, %d waiting, %d in the mailbox; want 2, 0 and 0", s.Undelivered, s.Waiting, r.mail()[0])
	}
}

// TestABatchThatNeverReturnsKeepsNoID: Shutdown reports such a batch,
// and then nothing keeps its id.
func TestABatchThatNeverReturnsKeepsNoID(t *testing.T) {
	b, remote := newBench(t, backlog.Config{}), new(held)
	b.Shared.SetRemote(remote)
	b.push("1")
	b.Serve(&b.writer)
	b.Shared.Close()
	b.Leave(true, false)
	if _, retired := b.Retire(); !retired || b.stats().Closed != 1 {
		t.Errorf("the id was retired: %v, %+v", retired, b.stats())
	}
	if remote.done([]error{nil}); b.stats().Forwarded != 0 {
		t.Error("the batch has a second outcome")
	}
}
