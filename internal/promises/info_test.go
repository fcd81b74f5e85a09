package promises

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestInfoOfOneID: Info distinguishes an id that is away, one with mail, one whose peer reads,
// and one whose peer does not.
func TestInfoOfOneID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1000), gcpool.WithWriteTimeout(time.Minute))
		start := time.Now()
		time.Sleep(time.Second)
		go io.Copy(io.Discard, pipe(t, conns, "reads"))
		pipe(t, conns, "stuck")
		for _, id := range []string{"reads", "stuck", "away"} {
			add(t, stream, id, "hello")
			add(t, stream, id, "again")
		}
		synctest.Wait()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		const since = time.Second
		for id, want := range map[string]gcpool.Info{
			"nobody": {},
			"reads":  {Since: start.Add(since), Kind: "net.Conn"},
			"stuck":  {Since: start.Add(since), Kind: "net.Conn", Waiting: 2, WaitingBytes: 10, Stalled: start.Add(since)},
			"away":   {Waiting: 2, WaitingBytes: 10, Mailbox: 2, MailboxBytes: 10},
		} {
			got := conns.Info(id)
			for _, at := range []*time.Time{&got.Since, &got.Stalled} {
				if !at.IsZero() {
					*at = start.Add(at.Sub(start).Round(100 * time.Millisecond))
				}
			}
			if got != want {
				t.Errorf("%s: %+v, want %+v", id, got, want)
			}
		}
	})
}

// TestStatsTellTheFullestOutbox: Stats has the size of the fullest
// outbox of all ids, without the mailbox.
func TestStatsTellTheFullestOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, conns, stream := started(t, gcpool.WithMailbox(time.Hour, 1000), gcpool.WithWriteTimeout(time.Minute))
		fullest := func(want int) {
			t.Helper()
			time.Sleep(2 * time.Second) // the figure can be about a second old
			synctest.Wait()
			if got := pool.Stats()[0].FullestOutbox; got != want {
				t.Errorf("%d bytes, want %d", got, want)
			}
		}
		fullest(0)
		add(t, stream, "away", "a long message for the mailbox")
		fullest(0)
		a, b := pipe(t, conns, "a"), pipe(t, conns, "b")
		add(t, stream, "a", "hello")
		add(t, stream, "a", "again")
		add(t, stream, "b", "hello")
		fullest(10)
		go io.Copy(io.Discard, a)
		fullest(5)
		go io.Copy(io.Discard, b)
		fullest(0)
	})
}

// TestInfoTellsTheKind: Info names the kind of a connection.
func TestInfoTellsTheKind(t *testing.T) {
	_, conns, _ := started(t)
	stuckRaw(func(c net.Conn) net.Conn { return c })(t, conns)
	if got := conns.Info("a").Kind; got != "stream" {
		t.Errorf("raw TCP is %q", got)
	}
	stuckWebSocket("tcp", plain, true)(t, conns)
	if got := conns.Info("a").Kind; got != "WebSocket of x/net" {
		t.Errorf("x/net is %q", got)
	}
	stuckWebSocket("tcp", gcpool.Upgrade, true)(t, conns)
	if got := conns.Info("a").Kind; got != "WebSocket under Upgrade" {
		t.Errorf("under Upgrade it is %q", got)
	}
	var none *gcpool.ConnPool
	if got := none.Info("a"); got != (gcpool.Info{}) {
		t.Errorf("of no pool: %+v", got)
	}
}
