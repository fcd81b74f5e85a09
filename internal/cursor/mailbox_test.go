package cursor

import (
	"context"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nulijiabei/gcpool/internal/backlog"
)

// TestTwoTrimsGiveUpNoMoreThanOne: two concurrent trims must not each
// drop a message to make the same room.
func TestTwoTrimsGiveUpNoMoreThanOne(t *testing.T) {
	over := 0
	for range 3000 {
		g := begun(backlog.Config{WriteTimeout: time.Second, MailboxTTL: time.Hour, MailboxBytes: 100})
		b := newID(g)
		push := func() { b.push("0123456789") }
		for range 10 {
			push()
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(push)
		}
		wg.Wait()
		b.Lock()
		held := b.Log.Bytes
		b.Unlock()
		if held != 100 {
			over++
		}
	}
	if over > 0 {
		t.Errorf("in %d of 3000 rounds a message was dropped although it fitted", over)
	}
}

// A most connection takes all of 600 messages except the last.
type most struct {
	sleepy
	n    int
	hold chan bool
}

func (m *most) Write(p []byte) (int, error) {
	if m.n++; m.n == 1 {
		<-m.hold // meanwhile more messages gather
		return len(p), nil
	}
	if m.n < 600 {
		return len(p), nil
	}
	return 0, io.ErrClosedPipe // the last write fails
}

// TestMailKeepsNoMoreThanItNeeds: a message in the mailbox keeps only its own bytes in memory,
// not the whole chunk that held it.
func TestMailKeepsNoMoreThanItNeeds(t *testing.T) {
	const limit = 1 << 20
	g := begun(backlog.Config{WriteTimeout: time.Second, MailboxTTL: time.Hour, MailboxBytes: limit})
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	ids := make([]*id, 200)
	for i := range ids {
		b := newID(g)
		conn := &most{hold: make(chan bool)}
		b.attach(NewConnection(conn, false))
		for range 600 {
			b.push(strings.Repeat("x", 100))
		}
		close(conn.hold)
		for b.present() != nil {
			time.Sleep(10 * time.Microsecond)
		}
		ids[i] = b
	}
	g.Mailbox.Trim(context.Background())
	if used := heap() - before; used > 4*limit {
		t.Errorf("a mailbox of %d bytes takes %d", limit, used)
	}
	runtime.KeepAlive(ids)
}
