package backlog

import (
	"errors"
	"testing"

	"github.com/nulijiabei/gcpool/internal/outcome"
)

// TestWhatABatchKeeps: a message stays if it was certainly not delivered, all messages after it
// in the batch stay, and it has a place to wait.
func TestWhatABatchKeeps(t *testing.T) {
	nobody, moved, other := outcome.ErrNotConnected, outcome.ErrMoved, errors.New("lost")
	for name, test := range map[string]struct {
		errs          []error
		late          int
		place, remote bool
		want          int
	}{
		"all delivered":                 {[]error{nil, nil}, 0, true, true, 2},
		"nobody has the id":             {[]error{nobody, nobody}, 0, true, true, 0},
		"nobody, and no place to wait":  {[]error{nobody, nobody}, 0, false, true, 2},
		"the id has moved":              {[]error{nil, moved, moved}, 0, false, true, 1},
		"the remote has gone meanwhile": {[]error{moved}, 0, false, false, 1},
		"behind one that was delivered": {[]error{nobody, nil, nobody}, 0, true, true, 2},
		"behind one that may have been": {[]error{nobody, other}, 0, true, true, 2},
		"some have expired meanwhile":   {[]error{nobody, nobody, nobody}, 2, true, true, 2},
	} {
		if got := keptFrom(test.errs, test.late, test.place, test.remote); got != test.want {
			t.Errorf("%s: keeps messages from index %d on, want %d", name, got, test.want)
		}
	}
}

// TestWhatACutMessageIsReportedWith: the error for a message that was
// cut and must not be sent again.
func TestWhatACutMessageIsReportedWith(t *testing.T) {
	for reason, want := range map[error]error{
		nil:                outcome.ErrReplaced,
		outcome.ErrMoved:   outcome.ErrReplaced,
		outcome.ErrDeleted: outcome.ErrDeleted,
		outcome.ErrSlow:    outcome.ErrSlow,
		outcome.ErrClosed:  outcome.ErrClosed,
		outcome.ErrSilent:  outcome.ErrSilent,
	} {
		if got := CutFor(reason); got != want {
			t.Errorf("after %v: %v, want %v", reason, got, want)
		}
	}
}

// TestMailElsewhereWhoseIDConnects: an id connects while a message from its mailbox is being
// forwarded. The mailbox must count only the messages that wait in it.
func TestMailElsewhereWhoseIDConnects(t *testing.T) {
	for name, test := range map[string]struct {
		step     func(b *Backlog, batch *Batch)
		messages int
	}{
		"it is delivered there": {func(b *Backlog, batch *Batch) { b.Connect(); b.Returned(batch, []error{nil}) }, 0},
		"it comes back":         {func(b *Backlog, batch *Batch) { b.Connect(); b.Returned(batch, []error{outcome.ErrNotConnected}) }, 0},
		"it has expired, and the id goes": {func(b *Backlog, _ *Batch) {
			b.absence.expireOldest(false)
			b.Connect()
			b.Disconnect(outcome.ErrDeleted)
		}, 1},
	} {
		b := backlogWith(t, setting{mailbox: true, remote: true})
		b.accept("1")
		b.Returned(b.Load(), []error{outcome.ErrNotConnected}) // so it becomes mail
		b.accept("2")
		batch := b.Load()
		if batch.mailed != 1 || b.Mail().Messages != 1 {
			t.Fatalf("%s: no mail is on its way", name)
		}
		test.step(b, batch)
		if b.Mail().Messages != test.messages || b.Mail().Bytes != test.messages {
			t.Errorf("%s: the mailbox counts %d messages of %d bytes, want %d", name, b.Mail().Messages, b.Mail().Bytes, test.messages)
		}
	}
}

// TestABatchReturnsOnce: a second answer, and one for a batch that was given up, do nothing.
func TestABatchReturnsOnce(t *testing.T) {
	b := backlogWith(t, setting{remote: true})
	b.accept("1")
	first := b.Load()
	if !b.Returned(first, []error{nil}) || b.Returned(first, []error{nil}) {
		t.Error("a second answer for the same batch was accepted")
	}
	b.accept("2")
	second := b.Load()
	b.Abandon(0, outcome.ErrClosed)
	if b.Returned(second, []error{nil}) {
		t.Error("an answer for a batch that was given up was accepted")
	}
	b.accept("3")
	third := b.Load()
	if b.Returned(second, []error{nil}) || !b.Returned(third, []error{nil}) {
		t.Error("an answer for an old batch was accepted for the next batch")
	}
	if s := b.Shared.Read(); s.Forwarded != 2 || s.Closed != 1 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

// TestAnAnswerAfterTheClusterHasLeft: an answer from the old cluster says nothing about a new
// one, even if the new one is already set. The new cluster must get one message first, and only
// once that message has been added.
func TestAnAnswerAfterTheClusterHasLeft(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		b := backlogWith(t, setting{remote: true, mailbox: true})
		b.accept("1")
		batch := b.Load()
		b.accept("2")
		b.Shared.SetRemote(nil)
		b.WithoutRemote(outcome.ErrNotConnected)
		if replaced {
			b.Shared.SetRemote(silent{})
		}
		b.Returned(batch, []error{nil})
		b.Shared.SetRemote(silent{})
		if !replaced && b.Due() {
			t.Error("the mailbox is due to be forwarded before a message has been added")
		}
		b.accept("3")
		if n := b.Load().Len(); n != 1 {
			t.Errorf("replaced %v: the other cluster is given %d messages at once, want 1", replaced, n)
		}
	}
}

// TestMovedForAnotherCluster: when the first cluster answers ErrMoved after another cluster has
// been set, the message goes to the other cluster.
func TestMovedForAnotherCluster(t *testing.T) {
	b := backlogWith(t, setting{remote: true})
	b.accept("1")
	batch := b.Load()
	b.Shared.SetRemote(nil)
	b.WithoutRemote(outcome.ErrNotConnected)
	b.Shared.SetRemote(silent{})
	b.Returned(batch, []error{outcome.ErrMoved})
	if got := placeOf(b); got != (place{1, 0, 0}) || !b.Due() || b.Load().Len() != 1 {
		t.Errorf("%+v", got)
	}
}

// TestTheClusterLeavesDuringABatch: a batch may take long, so the messages that wait for the
// cluster after it are reported at once.
func TestTheClusterLeavesDuringABatch(t *testing.T) {
	b := backlogWith(t, setting{remote: true})
	b.accept("1")
	batch := b.Load()
	b.accept("2")
	b.Shared.SetRemote(nil)
	b.WithoutRemote(outcome.ErrNotConnected)
	if got := placeOf(b); got != (place{1, 0, 1}) {
		t.Errorf("before the batch returns: %+v", got)
	}
	if b.Returned(batch, []error{outcome.ErrNotConnected}); placeOf(b) != (place{0, 0, 2}) {
		t.Errorf("after the batch returns: %+v", placeOf(b))
	}
}

// TestAnotherClusterBeginsAnew: a new cluster has not said where an
// id is, and no message waits for it.
func TestAnotherClusterBeginsAnew(t *testing.T) {
	b := backlogWith(t, setting{remote: true, mailbox: true})
	b.accept("1")
	b.Appeared()
	b.Shared.SetRemote(nil)
	b.WithoutRemote(outcome.ErrNotConnected)
	b.Shared.SetRemote(silent{})
	if bytes := b.Shared.remoteBytes.Load(); b.Due() || bytes != 0 {
		t.Errorf("with the new cluster, due to be forwarded: %v, with %d bytes counted", b.Due(), bytes)
	}
}
