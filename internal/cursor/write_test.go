package cursor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
	"github.com/nulijiabei/gcpool/internal/outbox"
	"github.com/nulijiabei/gcpool/internal/outcome"
	"github.com/nulijiabei/gcpool/internal/schedule"
)

// TestWhatAWriteLeaves ends a write of three messages after every possible number of bytes,
// while a newer connection waits. Whole messages count as written. A message that the peer may
// have received in part is reported. The rest waits for the newer connection.
func TestWhatAWriteLeaves(t *testing.T) {
	webSocket, _, _ := upgraded(t)
	for name, test := range map[string]struct {
		link    *Connection
		resends bool
	}{
		"under Upgrade":    {webSocket, true},
		"a raw connection": {NewConnection(&sleepy{}, false), false},
	} {
		const messages, size = 3, len("\x81\x01a")
		for n := range messages*size + 1 {
			b := newBench(t, backlog.Config{})
			b.attachLink(test.link)
			for range messages {
				b.push("a")
			}
			f := b.take()
			b.conn = NewConnection(&sleepy{}, false)
			f.land(n, outcome.Failure(errors.New("reset")))
			written, cut := uint64(n/size), uint64(0)
			if n%size > 0 && !test.resends {
				cut = 1
			}
			s := b.stats()
			if s.Written != written || s.Undelivered != cut || s.NotConnected != cut || s.Waiting != messages-int(written+cut) {
				t.Errorf("%s, after %d bytes: %+v", name, n, s)
			}
			if waiting := b.id.Log.Messages; waiting != s.Waiting {
				t.Errorf("%s, after %d bytes: %d of %d wait", name, n, waiting, s.Waiting)
			}
		}
	}
}

// TestRemovalBehindATakeover: a write on the old connection fails after the newer connection
// was removed. The messages that the write leaves are reported with the reason of that removal.
func TestRemovalBehindATakeover(t *testing.T) {
	b := newBench(t, backlog.Config{})
	b.attach()
	b.push("1")
	f := b.take()
	b.push("2")
	b.attach()
	b.remove(outcome.ErrDeleted)
	f.land(0, outcome.Failure(errors.New("reset")))
	if s := b.stats(); s.Deleted != 2 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

// silent is a Remote that does nothing.
type silent struct{}

func (silent) Changed(_, _ string)                                   {}
func (silent) Forward(_, _ string, _ [][]byte, _ func(errs []error)) {}
func (silent) Broadcast(string, []byte) error                        { return nil }

// held is a Remote that answers when the test does.
type held struct {
	silent
	batch [][]byte
	done  func(errs []error)
}

func (h *held) Forward(_, _ string, batch [][]byte, done func(errs []error)) {
	h.batch, h.done = batch, done
}

// TestBatchIsAPiece: a batch is no larger than a piece.
func TestBatchIsAPiece(t *testing.T) {
	b, remote := newBench(t, backlog.Config{}), new(held)
	b.Shared.SetRemote(remote)
	for range 4 {
		b.push(strings.Repeat("x", outbox.Piece*3/4))
	}
	if b.Serve(&b.writer); len(remote.batch) != 1 {
		t.Errorf("%d messages of three quarters of a piece", len(remote.batch))
	}
}

// TestTurnOfABatch: a batch that is being forwarded counts as a write of its cursor.
func TestTurnOfABatch(t *testing.T) {
	for name, test := range map[string]struct {
		behind []string // added while the batch is being forwarded
		want   turn
	}{
		"nothing waits behind it": {nil, idle},
		"more waits behind it":    {[]string{"2"}, queued},
	} {
		b, remote := newBench(t, backlog.Config{}), new(held)
		b.Shared.SetRemote(remote)
		if b.push("1"); b.turn != queued {
			t.Fatalf("%s: it begins at %d", name, b.turn)
		}
		if b.Serve(&b.writer); b.turn != writing || !b.Travels() {
			t.Errorf("%s: a batch has left, and the turn is %d", name, b.turn)
		}
		for _, data := range test.behind {
			b.push(data)
		}
		if remote.done([]error{nil}); b.turn != test.want || b.stats().Forwarded != 1 {
			t.Errorf("%s: it ends at %d, %+v", name, b.turn, b.stats())
		}
	}
}

// TestGivenUpBeforeItBegan: Shutdown gives up an inline write before Add has made it. The bytes
// that its writer wrote earlier must not count for this write.
func TestGivenUpBeforeItBegan(t *testing.T) {
	g := begun(backlog.Config{WriteTimeout: time.Minute})
	link, _, peer := upgraded(t)
	a := newID(g)
	a.attach(link)
	large := strings.Repeat("x", 300_000)
	a.push(large)
	receive(t, peer, large)
	dismissed(t, g)
	time.Sleep(2 * schedule.InlineCredit)
	write := a.accept("never sent")
	if write == nil {
		t.Fatal("an idle pool gives the caller no writer")
	}
	a.Leave(true, true)
	if s := g.Read(); s.Written != 1 || s.Closed != 1 {
		t.Errorf("%d written, %d closed", s.Written, s.Closed)
	}
	write()
}
