package closing

import (
	"strings"
	"testing"
)

// TestWithoutUpgrade tries what holds without Upgrade, where x/net's socket is out of
// reach: one close frame, with the right code, if the handler has a Del or a Close, and
// its client is not sending. x/net closes the socket with the client's answer unread, so
// a reset may follow. And the pool waits no longer than 20 ms for the frame to be out
// before the handler returns, so on a busy machine a few may be lost.
func TestWithoutUpgrade(t *testing.T) {
	for _, r := range rows {
		for _, s := range shapes {
			if len(s) == 0 && (r.name == "client closes" || r.name == "handler returns") {
				continue
			}
			c := &closure{row: r, library: plainXNet, shape: s}
			const n = 20
			right := 0
			endings := append(c.once(t, openRaw, n/2), c.once(t, openRaw, n/2)...)
			for _, e := range endings {
				once := e.Clean || strings.HasPrefix(e.Why, oneFrame)
				if once && e.Code == c.want.Code && e.Reason == c.want.Reason {
					right++
				}
			}
			if right < n*3/4 {
				t.Errorf("%s: right in %d of %d: %+v", c, right, n, endings)
			}
		}
	}
}
