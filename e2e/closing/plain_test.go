package closing

import (
	"slices"
	"strings"
	"testing"
)

// TestWithoutUpgrade tests the promises that hold without Upgrade, where the pool cannot reach
// x/net's socket. If the handler has a Del or a Close, there is one close frame, with the right
// code, and the socket is closed after the client's answer. If the handler only returns, x/net
// closes the socket at once, so a reset may follow. Del waits no longer than 20 ms for the
// frame to be sent, so on a busy machine a few may be lost. If the handler reads the client's
// answer before the pool has shut x/net's writing, its Close sends a second frame: on a busy
// machine, once in some thousand closes.
func TestWithoutUpgrade(t *testing.T) {
	for _, r := range rows {
		for _, s := range shapes {
			returns := r.name == "handler returns"
			if len(s) == 0 && (r.name == "client closes" || returns) {
				continue
			}
			const n = 20
			c, right := &closure{row: r, library: plainXNet, shape: s}, 0
			endings, second := c.twice(t, openRaw, n/2), 0
			for _, e := range endings {
				once := e.Clean || returns && strings.HasPrefix(e.Why, oneFrame)
				if once && e.Code == c.want.Code && e.Reason == c.want.Reason {
					right++
				} else if slices.Contains(s, "Close") && strings.Contains(e.Why, "2 close frames") {
					second++
				}
			}
			if right+second < n && !returns || right < n*3/4 {
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
			endings, _ := c.inTime(t, open, 10)
			for _, e := range endings {
				if e != c.want {
					t.Errorf("%s: %s: %+v, want %+v", name, c, e, c.want)
				}
			}
		}
	}
}

// twice closes n connections at once, and then n more.
func (c *closure) twice(t *testing.T, open client, n int) []ending {
	first, _ := c.inTime(t, open, n)
	second, _ := c.inTime(t, open, n)
	return append(first, second...)
}
