package torture

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestFault03NothingFollowsACutFrame: a frame is cut, but its connection stays usable for a
// while, because it closes slowly and ignores deadlines. Neither a close frame nor a pong may
// follow, or the peer would take it for the rest of the message.
func TestFault03NothingFollowsACutFrame(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		r := newRig(t, gcpool.WithHeartbeat(0))
		u := r.connect("a", upgraded)
		free, cut, part := make(chan struct{}), false, 1+rnd.IntN(40)
		u.server.OnWrite = func(p []byte) (int, error) {
			if cut {
				return u.server.Take(p)
			}
			cut = true
			n, _ := u.server.Take(p[:part])
			return n, errors.New("cut")
		}
		u.server.OnDeadline = func(time.Time) error { return nil }
		u.server.OnClose = func() error {
			<-free
			return u.server.Shut()
		}
		before := u.server.Written()
		r.push(1, "a", 40+rnd.IntN(1000))
		synctest.Wait()
		if s := r.stats(); s.Connections != 0 || s.NotConnected != 1 {
			t.Errorf("after the cut: %+v", s)
		}
		u.Send(0x89, []byte("ping"))
		time.Sleep(time.Duration(rnd.IntN(2000)) * time.Millisecond)
		synctest.Wait()
		if n := u.server.Written() - before; n != part {
			t.Errorf("%d bytes followed the %d of a cut frame", n-part, part)
		}
		close(free)
		if _, err := r.done(time.Second); err != nil {
			t.Error(err)
		}
	})
}
