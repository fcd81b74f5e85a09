package torture

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
	"github.com/nulijiabei/gcpool/torture/internal/peer"
)

// got is what a peer received when the messages are not the ledger's.
type got struct {
	frames []string // from a WebSocket, with their newlines
	bytes  []byte   // from a raw connection
	err    error
}

// listen reads everything that u receives.
func (g *got) listen(u *user) {
	defer u.Conn.Close()
	if u.kind == raw {
		g.bytes, g.err = io.ReadAll(u.Conn)
		return
	}
	for {
		op, payload, err := u.Frame()
		switch {
		case err != nil:
			g.err = err
			return
		case op == 0x8:
			u.Send(0x88, payload)
		case op == 0x1 || op == 0x2:
			g.frames = append(g.frames, string(payload))
		}
	}
}

// newlines returns payloads with newlines in all positions.
func newlines(rnd *rand.Rand) []string {
	all := []string{"", "\n", "\n\n", "\r\n", "a\nb", "a\nb\n", "\na", strings.Repeat("\n", 124), strings.Repeat("\n", 125),
		strings.Repeat("\n", 126), strings.Repeat("a\n", 1+rnd.IntN(600)), "no newline"}
	for range 10 {
		p := make([]byte, rnd.IntN(300))
		for i := range p {
			p[i] = "\n\r\x00a"[rnd.IntN(4)]
		}
		all = append(all, string(p))
	}
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// TestFault12NewlinesInsidePayloads: a payload arrives as one frame, or on a raw
// connection as the same bytes, whatever it contains and whichever way it went: through
// the mailbox, in a batch, or from one connection to the next. The pool adds exactly
// one newline, or none. Reports have no added newline.
func TestFault12NewlinesInsidePayloads(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		end := []string{"", "\n"}[rnd.IntN(2)]
		var reported []string
		mailbox := time.Duration(rnd.IntN(2)) * time.Minute
		r := newRig(t, gcpool.WithNewline(end != ""), gcpool.WithMailbox(mailbox, 1<<20), gcpool.WithHeartbeat(0),
			gcpool.WithUndelivered(func(u gcpool.Undelivered) {
				reported = append(reported, string(u.Data))
				if u.Data == nil || u.ID != "a" {
					t.Errorf("%+v", u)
				}
			}))
		payloads := newlines(rnd)
		away := r.pushNewlines(payloads)
		if mailbox == 0 {
			synctest.Wait()
			if !slices.Equal(reported, away) {
				t.Errorf("%q were reported, but %q were not delivered", reported, away)
			}
			away, reported = nil, nil
		}
		r.stall()
		first := r.pushNewlines(payloads[:rnd.IntN(len(payloads))])
		synctest.Wait()
		k := pick(rnd)
		u := r.connect("a", k) // takes over the waiting messages
		var g got
		r.wg.Go(func() { g.listen(u) })
		r.pushNewlines(payloads)
		if err := r.end(time.Minute); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if len(reported) > 0 {
			t.Errorf("%q reported", reported)
		}
		g.check(t, k, slices.Concat(away, first, payloads), end)
	})
}

// stall connects "a" with a connection that takes no bytes until it is closed.
func (r *rig) stall() {
	pair := r.pair
	defer func() { r.pair = pair }()
	r.pair = func() (s, c net.Conn) {
		s, c = pair()
		stuck, server := make(chan struct{}), r.last
		server.OnWrite = func([]byte) (int, error) {
			<-stuck
			return 0, net.ErrClosed
		}
		server.OnClose = sync.OnceValue(func() error {
			close(stuck)
			return server.Shut()
		})
		return s, c
	}
	r.connect("a", raw)
}

// pushNewlines pushes all payloads and returns them.
func (r *rig) pushNewlines(payloads []string) []string {
	for _, p := range payloads {
		if err := r.stream.Add("a", []byte(p)); err != nil {
			r.t.Fatal(err)
		}
	}
	return payloads
}

// check checks that the payloads arrived, each followed by end.
func (g *got) check(t *testing.T, k kind, want []string, end string) {
	if k == raw {
		all := []byte(strings.Join(want, end) + end)
		if g.err != nil || !bytes.Equal(g.bytes, all) {
			t.Errorf("a raw peer got %q (%v), want %q", g.bytes, g.err, all)
		}
		return
	}
	for i := range want {
		want[i] += end
	}
	if errors.Is(g.err, peer.ErrProtocol) || !slices.Equal(g.frames, want) {
		t.Errorf("%v got %q (%v), want %q", k, g.frames, g.err, want)
	}
}
