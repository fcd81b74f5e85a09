package closing

import (
	"strings"
	"testing"
)

// most is how many of n connections of x/net without Upgrade have to end right. On a busy machine
// Del, which waits no longer than 20 ms for the frame to be out, may lose one, and the Close of a
// handler that reads the client's answer before the pool has shut x/net's writing sends a second.
func most(n int) int { return n * 3 / 4 }

// TestWithoutUpgrade tries what holds without Upgrade, where x/net's socket is out of reach: one
// close frame, with the right code, if the handler has a Del or a Close, and the socket is closed
// behind the client's answer. Only when the handler returns, x/net closes it at once, so a reset
// may follow.
func TestWithoutUpgrade(t *testing.T) {
	for _, r := range rows {
		for _, s := range shapes {
			returns := r.name == "handler returns"
			if len(s) == 0 && (r.name == "client closes" || returns) {
				continue
			}
			const n = 20
			c, right := &closure{row: r, library: plainXNet, shape: s}, 0
			endings := c.twice(t, openRaw, n/2)
			for _, e := range endings {
				once := e.Clean || returns && strings.HasPrefix(e.Why, oneFrame)
				if once && e.Code == c.want.Code && e.Reason == c.want.Reason {
					right++
				}
			}
			if right < most(n) {
				t.Errorf("%s: right in %d of %d: %+v", c, right, n, endings)
			}
		}
	}
}

// TestBrowsersWithoutUpgrade closes connections of pages that send all the time.
func TestBrowsersWithoutUpgrade(t *testing.T) {
	for name, open := range map[string]client{"Chromium": newChromium(t), "Firefox": newFirefox(t)} {
		for _, r := range rows {
			if r.name == "handler returns" {
				continue
			}
			c := &closure{row: r, library: plainXNet, shape: shape{"Del"}, sends: true}
			const n = 20
			endings, right := c.twice(t, open, n/2), 0
			for _, e := range endings {
				if e == c.want {
					right++
				}
			}
			if right < most(n) {
				t.Errorf("%s: %s: right in %d of %d: %+v", name, c, right, n, endings)
			}
		}
	}
}

// twice closes n connections at the same time, and n more.
func (c *closure) twice(t *testing.T, open client, n int) []ending {
	first, _ := c.inTime(t, open, n)
	second, _ := c.inTime(t, open, n)
	return append(first, second...)
}
