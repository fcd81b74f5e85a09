package torture

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nulijiabei/gcpool"
)

// TestFault04ResetInTheMiddleOfAWrite: a reset removes the connection at once, and not as a
// slow peer. The cut message is reported together with all messages behind it. Later messages
// go to the next connection.
func TestFault04ResetInTheMiddleOfAWrite(t *testing.T) {
	seeds(t, func(t *testing.T, rnd *rand.Rand) {
		r := newRig(t, gcpool.WithHeartbeat(0), gcpool.WithWriteTimeout(time.Minute))
		r.size = 200 + rnd.IntN(200)
		u := r.connect("a", pick(rnd))
		handshake := u.server.Written()
		n := 1 + rnd.IntN(5)
		for range n {
			r.push(1, "a", r.size+rnd.IntN(1000))
		}
		synctest.Wait()
		if took := u.server.Written() - handshake; took == 0 || took > r.size {
			t.Fatalf("%d bytes were written to a buffer of %d", took, r.size)
		}
		time.Sleep(time.Duration(rnd.IntN(1000)) * time.Millisecond)
		u.server.Reset()
		synctest.Wait() // the handler may see the RST first, and call Del
		if s := r.stats(); s.Connections != 0 || s.Waiting != 0 || s.NotConnected+s.Deleted != uint64(n) || s.Stalled != 0 {
			t.Errorf("after the reset, of %d messages: %+v", n, s)
		}
		r.size = 64 << 10
		r.reader("a", pick(rnd))
		if err := r.deliver(1, "a", 1000); err != nil {
			t.Errorf("Deliver to the next connection: %v", err)
		}
		if _, err := r.done(time.Second); err != nil {
			t.Error(err)
		}
	})
}
